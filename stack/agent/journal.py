"""The agent's memory across crashes: one CRC-checked JSON record a line, each synced before the step it announces.

A torn last line is what a power cut leaves behind: it is dropped. A damaged line before the end is not: it is reported.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError
from model_registry.core.files import Files
from stack.agent.reports import Failure, fill

if TYPE_CHECKING:
    from stack.agent.host import Host, Progress

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STAGES = {
    "CLAIM": "Taking the robot's lock",
    "PREFLIGHT": "Looking whether the robot is ready",
    "FETCH": "Fetching the release",
    "VERIFY": "Checking signature and fit",
    "STAGE": "Laying out code and model",
    "BUILD": "Building the engine",
    "PROVE": "Proving the engine on this device",
    "READY": "Ready to switch",
    "WAIT": "Waiting for the robot and the warm candidate",
    "SWITCH": "Switching",
    "PROBATION": "Driving on probation",
    "COMMIT": "Committing",
    "ROLLBACK": "Rolling back",
    "VERIFY_ROLLBACK": "Checking what was restored",
    "FAILED": "Failed",
}


def boot_id() -> str:
    """The kernel's name for this boot: process ids mean nothing after it."""
    return _BOOT_ID.read_text().strip()


@dataclass(frozen=True, slots=True)
class Record:
    """One step of one deployment: intended, or done."""

    seq: int
    deployment: str
    stage: str
    phase: str
    release: Digest | None
    detail: dict[str, object]


def _crc(fields: dict[str, object]) -> str:
    return f"{zlib.crc32(dump(fields)):08x}"


def decode(line: bytes) -> Record:
    """Raises HomeportError when the line is not a whole record."""
    reader = Reader({"line": parse(line, "journal")}, "journal")
    fields = reader.mapping("line")
    if fields.pop("crc", None) != _crc(fields):
        raise HomeportError("journal: wrong CRC")
    reader = Reader(fields, "journal")
    phase = reader.text("phase", ("intent", "done"))
    return fill(Record, reader, stage=reader.text("stage", STAGES), phase=phase, detail=reader.mapping("detail"))


class Journal:
    """`records` are the whole lines in order; `damaged` the numbers of lines before the end that are not."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path, self._files = path, files
        self.records: list[Record] = []
        self.damaged: list[int] = []
        data = path.read_bytes() if path.exists() else b""
        lines = data.split(b"\n")
        torn = lines.pop() != b""
        for number, line in enumerate(lines, 1):
            try:
                self.records.append(decode(line))
            except HomeportError:
                self.damaged.append(number)
        if self.damaged and self.damaged[-1] == len(lines):
            lines.pop()
            self.damaged.pop()
            torn = True
        if torn:
            files.write(path, b"".join(line + b"\n" for line in lines))

    def append(
        self, deployment: str, stage: str, phase: str, release: Digest | None, detail: dict[str, object]
    ) -> None:
        """Write one record; it is on disk when this returns."""
        fields: dict[str, object] = {
            "seq": self.next_seq,
            "boot": boot_id(),
            "monotonic_ns": time.monotonic_ns(),
            "wall": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "deployment": deployment,
            "stage": stage,
            "phase": phase,
            "release": None if release is None else str(release),
            "detail": detail,
        }
        line = dump({**fields, "crc": _crc(fields)})
        self._files.append(self._path, line + b"\n")
        self.records.append(decode(line))

    @property
    def next_seq(self) -> int:
        return max((record.seq for record in self.records), default=0) + 1

    def open_record(self) -> Record | None:
        """The last record of a deployment that neither ended well nor was closed as FAILED, or None."""
        if not self.records:
            return None
        last = self.records[-1]
        closed = last.phase == "done" and last.stage in ("READY", "COMMIT", "FAILED")
        return None if closed else last


class Deployment:
    """One change of this robot from CLAIM to its end: a step is announced here before it is taken; `progress` hears a sentence about it."""

    def __init__(self, host: Host, release: Digest, progress: Progress) -> None:
        self.host, self.release, self.progress = host, release, progress
        self.identity = f"{release.short}-{host.journal.next_seq}"
        self.stage = "CLAIM"
        host.active = self

    def say(self, text: str) -> None:
        self.progress(self.stage, text)

    @contextmanager
    def step(self, stage: str, **intent: object) -> Iterator[dict[str, object]]:
        """Write the intent, do the work, write what was done; the body fills the yielded detail."""
        self.begin(stage, **intent)
        done: dict[str, object] = {}
        yield done
        self.finish(**done)

    def begin(self, stage: str, **intent: object) -> None:
        self.stage = stage
        self.host.journal.append(self.identity, stage, "intent", self.release, intent)
        self.say(f"{STAGES[stage]}.")

    def finish(self, **done: object) -> None:
        self.host.journal.append(self.identity, self.stage, "done", self.release, done)

    def fail(self, failure: Failure | None, restore: Failure | None = None, log: Iterable[str] = ()) -> None:
        """Close the deployment as FAILED; both failures are kept apart."""
        self.stage = "FAILED"
        restored = restore and restore.document()
        self.finish(failure=failure and failure.document(), restore_failure=restored, log=list(log))
        self.say(failure.message if failure else "Rolled back on request.")
