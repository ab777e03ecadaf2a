"""End what a crash has left open.

By a table, from the last record that reached the disk and what `current` names.

Only COMMIT's rename of `current` is durable, so the table is short, and every row ends the deployment with one record:
no start of the agent leads to another. docs/rollback.md shows the table as it is here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, fill
from model_registry.core.files import remove
from model_registry.core.layout import Layout
from stack.agent.disk.journal import STAGING, Record
from stack.agent.host import Host
from stack.agent.reports import Failure

LOG_LINES = 40
ANY = "anything"
ITS_RELEASE = "its release"
ANOTHER = "another release"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Case:
    """When one of these stages was the last one recorded, and `current` names that."""

    last: tuple[str, ...]
    current: str
    decision: str
    sentence: str


TABLE = (
    Case(("none", "ended"), ANY, "nothing", "the last change had come to its end"),
    Case(
        ("SWITCH", "PROBATION", "VERIFY_ROLLBACK", "COMMIT"),
        *(ITS_RELEASE, "finish", "the commit was interrupted after it had become durable, and is finished now"),
    ),
    Case(STAGING, ANY, "close", "staging was interrupted; what was fetched and built stays for the next time"),
    Case(
        ("WAIT", "SWITCH", "PROBATION", "VERIFY_ROLLBACK", "COMMIT"),
        *(ANY, "close", "the change was interrupted before its commit; the robot stays on what it had committed"),
    ),
    Case(
        ("ROLLBACK", "FAILED"),
        *(
            ANY,
            "close",
            "the way back was interrupted; the robot is on what it had committed, for the failure recorded",
        ),
    ),
)


def sweep(layout: Layout) -> None:
    """Remove what an agent that was killed could not: half a release, and files that were to replace others."""
    for path in (*layout.ingest.glob("release-*"), *layout.root.glob(".*.tmp"), *layout.root.glob("*/.*.tmp")):
        with suppress(OSError):
            remove(path)


def decide(last: str, current: str) -> Case:
    """`last` is `none`, `ended`, or the stage of an open deployment: ROLLBACK for all that comes after it."""
    return next(row for row in TABLE if last in row.last and row.current in (ANY, current))


def close_open(host: Host) -> str | None:
    """End the deployment that a crash left open; returns a sentence about it. Can be repeated after any failure."""
    record = host.journal.open_record()
    return None if record is None else close(host, record)


def close(host: Host, record: Record) -> str:
    """End the deployment whose last record this is."""
    current = host.store.current()
    own = [each for each in host.journal.records if each.deployment == record.deployment]
    back = next((each for each in own if each.stage == "ROLLBACK"), None)
    named = NOTHING
    if current is not None:
        named = ITS_RELEASE if current == record.release else ANOTHER
    row = decide(record.stage if back is None else "ROLLBACK", named)
    if row.decision == "finish":
        _finish(host, record)
    else:
        _close(host, record, back, row.sentence)
    return f"{record.deployment}: {record.stage} was the last step; {row.sentence}"


def _finish(host: Host, record: Record) -> None:
    """`previous` is in the record of the COMMIT; where that was lost, it is what the other slot has, if that was
    committed.
    """
    assert record.release is not None
    if record.stage == "COMMIT":
        text = record.detail.get("previous")
        previous = Digest.parse(text) if isinstance(text, str) else None
    else:
        left = host.store.slot_release(host.store.free_slot())
        previous = left if left in host.store.floor().committed else host.store.previous()
    host.store.settle(host.store.load(record.release), previous)
    host.journal.append(record.deployment, "COMMIT", "done", record.release, {"recovered": True})


def _close(host: Host, record: Record, back: Record | None, sentence: str) -> None:
    """As FAILED: with the failure that a rollback was about, or the interruption itself.

    Only the former may belong in quarantine.
    """
    known = None if back is None else back.detail.get("failure")
    failure: Failure | None = None
    if known is not None:
        failure = fill(Failure, Reader(known, "journal.failure"))
        if back is not None and back.detail.get("quarantine") is True:
            host.store.quarantine(failure)
    elif back is None and record.release is not None:
        text = f"the agent was interrupted in {record.stage}: {sentence}"
        failure = Failure(record.release, record.stage, text, "interrupted")
    document = failure and failure.document()
    detail: dict[str, object] = {
        "failure": document,
        "restore_failure": None,
        "log": _last_words(host, record),
        "recovered": True,
    }
    host.journal.append(record.deployment, "FAILED", "done", record.release, detail)


def _last_words(host: Host, record: Record) -> list[str]:
    """What the release wrote last, where the slot that `current` does not name had come to it: staging has none."""
    slot = host.store.free_slot()
    ran = record.stage not in STAGING and host.store.slot_release(slot) == record.release
    return host.runtime.log_tail(slot, LOG_LINES) if ran else []
