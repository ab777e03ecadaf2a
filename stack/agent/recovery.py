"""After a start, whatever came before: close what was left open, then keep `current` running.

Only COMMIT's rename is durable, so the decision is short: a COMMIT whose rename happened is finished; everything else comes back on `current`.
"""

from __future__ import annotations

import time

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError
from stack.agent.host import Host
from stack.agent.journal import Record
from stack.agent.reports import Failure, fill

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


def close_open(host: Host) -> str | None:
    """End the deployment that a crash left open; returns a sentence about it."""
    record = host.journal.open_record()
    if record is None:
        return None
    release = record.release
    if record.stage == "COMMIT" and release is not None and host.store.current() == release:
        left = record.detail.get("left")
        host.store.settle(host.store.load(release), Digest.parse(left) if isinstance(left, str) else None)
        host.journal.append(record.deployment, "COMMIT", "done", release, {"recovered": True})
        return f"{release.short} was being committed and is now"
    failure, guilty = _failure_of(host, record)
    if failure is not None and guilty:
        host.store.quarantine(failure)
    document = failure and failure.document()
    detail: dict[str, object] = {"failure": document, "restore_failure": None, "log": [], "recovered": True}
    host.journal.append(record.deployment, "FAILED", "done", release, detail)
    return f"a deployment was interrupted in {record.stage}; the robot stays on what it had committed"


def _failure_of(host: Host, record: Record) -> tuple[Failure | None, bool]:
    """The failure that an unfinished rollback was about, or the interruption itself; and whether it belongs in quarantine."""
    for earlier in host.journal.records:
        known = earlier.detail.get("failure")
        if earlier.deployment == record.deployment and earlier.stage == "ROLLBACK" and known is not None:
            return fill(Failure, Reader(known, "journal.failure")), earlier.detail.get("quarantine") is True
    if record.release is None:
        return None, False
    text = f"the agent was interrupted in {record.stage}"
    return Failure(record.release, record.stage, text, "interrupted"), False


class Keeper:
    """Called once a second: the slot of `current` runs and drives, the other one is empty. Restarts pause longer each time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pause_s = _FIRST_PAUSE_S
        self._next_start_s = 0.0

    def keep(self) -> None:
        """Does nothing while somebody changes the robot."""
        host = self._host
        if not host.busy.acquire(blocking=False):
            return
        try:
            if host.active is None and host.trial is None:
                host.keeping = self._keep()
        except (HomeportError, OSError) as error:
            host.keeping = str(error)
        finally:
            host.busy.release()

    def _keep(self) -> str | None:
        """What is wrong, or None."""
        host = self._host
        host.runtime.stop(host.store.free_slot())
        slot, current = host.store.current_slot(), host.store.current()
        if slot is None or current is None:
            return None
        if host.runtime.alive(slot) is None:
            return self._start(slot, current)
        view = host.supervisor.try_view()
        if view is not None and not view.drives(slot, current) and view.slots[slot].selectable:
            host.supervisor.select(slot, current, 0.0, None)
        if view is not None and view.drives(slot, current):
            self._pause_s = _FIRST_PAUSE_S
        return None

    def _start(self, slot: str, current: Digest) -> str | None:
        now = time.monotonic()
        if now < self._next_start_s:
            return f"slot {slot}: ended again; next start in {self._next_start_s - now:.0f} s"
        self._next_start_s = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._host.runtime.start(slot, self._host.store.load(current))
        return None
