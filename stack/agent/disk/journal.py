"""The agent's memory across crashes: one CRC-checked JSON record a line, each synced before the step it announces.

A torn last line is what a power cut leaves behind: it is dropped. A damaged line before the end is not: it is reported.
Nothing decides by the wall time in a record. Each record has the fence of the claim that wrote it; who holds an older
one than the last record has is refused. A long journal is rotated at rest: what was taken out stays in
`journal.1.jsonl` until the next time.

Each record has the number of its schema. One of another schema is no damage: it was written by another version of the
agent, which knows what this one would lose, so nothing is written behind it.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import accumulate
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, fill, parse
from model_registry.core.errors import HomeportError, IncompatibleError, LockedError
from model_registry.core.files import Files
from stack.agent.machine.processes import boot_id

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
STAGING = ("CLAIM", "PREFLIGHT", "FETCH", "VERIFY", "STAGE", "BUILD", "PROVE", "READY")
"""Disturb nothing that drives, and can be ended at any time."""
SCHEMA = 1
MOST_BYTES = 1 << 20
KEPT_DEPLOYMENTS = 20
RECOVERY = "recovery-"
"""What the keeper does by itself begins with it."""


def utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Record:
    """One step of one deployment: intended, or done."""

    seq: int
    deployment: str
    stage: str
    phase: str
    release: Digest | None
    detail: dict[str, object]
    fence: int | None = None
    wall: str = ""
    """The time of day, for people only."""

    @property
    def closes(self) -> bool:
        """Whether its deployment ended with it."""
        return self.phase == "done" and self.stage in ("READY", "COMMIT", "FAILED")

    @property
    def decides(self) -> bool:
        """Whether it says how a change of what drives, or the attempt at one, ended."""
        return self.phase == "done" and self.stage in ("COMMIT", "FAILED")


def _crc(fields: dict[str, object]) -> str:
    return f"{zlib.crc32(dump(fields)):08x}"


class ForeignError(HomeportError):
    """A whole record of another schema."""


def decode(line: bytes) -> Record:
    """Raises ForeignError for a record of another schema, HomeportError when the line is not a whole record."""
    reader = Reader({"line": parse(line, "journal")}, "journal")
    fields = reader.mapping("line")
    if fields.pop("crc", None) != _crc(fields):
        raise HomeportError("journal: wrong CRC")
    if (schema := fields.get("schema")) != SCHEMA:
        raise ForeignError(f"written with schema {schema or 'none'}, and this agent reads {SCHEMA}")
    reader = Reader(fields, "journal")
    phase = reader.text("phase", ("intent", "done"))
    return fill(Record, reader, stage=reader.text("stage", STAGES), phase=phase, detail=reader.mapping("detail"))


def readable(line: bytes) -> Record | None:
    """The record in a line, or None. Raises ForeignError for one of another schema."""
    try:
        return decode(line)
    except ForeignError:
        raise
    except HomeportError:
        return None


def kept(lines: list[bytes], most_bytes: int) -> list[bytes]:
    """The lines that a rotation leaves.

    Those of the last deployments, of the last one that decided anything, and what the status tells of: damage and
    damaged lines.
    """
    records = [readable(line) for line in lines]
    sizes: dict[str, int] = {}
    for record, line in zip(reversed(records), reversed(lines), strict=True):
        if record is not None:
            sizes[record.deployment] = sizes.get(record.deployment, 0) + len(line) + 1
    room = accumulate(sizes.values())
    names = {name for name, size in list(zip(sizes, room, strict=True))[:KEPT_DEPLOYMENTS] if size <= most_bytes}
    ends = [each.deployment for each in records if each is not None and each.decides]
    names |= {*ends[-1:], *[name for name in ends if name.startswith(RECOVERY)][-1:]}
    return [line for line, each in zip(lines, records, strict=True) if each is None or each.deployment in names]


class Journal:
    """What a journal holds.

    `records` are the whole lines in order; `damaged` the numbers of damaged lines before the end; `unreadable` says why
    there are none.
    """

    def __init__(self, path: Path, files: Files, wall: Callable[[], str] = utc_now) -> None:
        self._path = path
        self._files = files
        self._wall = wall
        self._lock = threading.Lock()
        """The keeper may have something to say while a release is staged."""
        self.records: list[Record] = []
        self.damaged: list[int] = []
        self.unreadable: str | None = None
        self._foreign: ForeignError | None = None
        data = b""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            self.unreadable = str(error)
        lines = data.split(b"\n")
        self._torn = lines.pop() != b""
        self._take(lines)
        if self.damaged and self.damaged[-1] == len(lines):
            lines.pop()
            self.damaged.pop()
            self._torn = True
        self._whole = sum(len(line) + 1 for line in lines)
        self.most_bytes = MOST_BYTES
        self._moved = False
        with suppress(OSError):  # then the next record tries again
            self._mend()

    def _take(self, lines: list[bytes]) -> None:
        """Readers on other threads keep the lists that they have."""
        try:
            records = [readable(line) for line in lines]
        except ForeignError as error:
            self._foreign = error
            self.unreadable = f"{self._path}: {error}; install the agent that wrote it"
            self.records = []
            self.damaged = []
            return
        self.damaged = [number for number, record in enumerate(records, 1) if record is None]
        self.records = [record for record in records if record is not None]

    def _mend(self) -> None:
        """Cut off what an unfinished record has left, and sync a rotation so that it survives a power cut."""
        if self._moved:
            self._files.sync(self._path.parent)
            self._moved = False
        if self._torn and self._foreign is None and self._path.exists():
            self._files.truncate(self._path, self._whole)
        self._torn = False

    def append(
        self,
        deployment: str,
        stage: str,
        phase: str,
        release: Digest | None,
        detail: dict[str, object],
        fence: int | None = None,
    ) -> Record:
        """Write one record; it is on disk when this returns. Raises LockedError for an older fence than the last."""
        with self._lock:
            return self._append(deployment, stage, phase, release, detail, fence)

    def _append(
        self, deployment: str, stage: str, phase: str, release: Digest | None, detail: object, fence: int | None
    ) -> Record:
        if self._foreign is not None:
            raise IncompatibleError(f"{self.unreadable}")
        fence = self.fence if fence is None else fence
        if fence < self.fence:
            raise LockedError(f"{deployment}: its claim ran out and another change has begun; ask for the status")
        fields: dict[str, object] = {
            "schema": SCHEMA,
            "seq": self.next_seq,
            "boot": boot_id(),
            "monotonic_ns": time.monotonic_ns(),
            "wall": self._wall(),
            "deployment": deployment,
            "stage": stage,
            "phase": phase,
            "release": None if release is None else str(release),
            "detail": detail,
            "fence": fence,
        }
        line = dump({**fields, "crc": _crc(fields)})
        self._mend()
        self._torn = True
        self._files.append(self._path, line + b"\n")
        self._torn = False
        self._whole += len(line) + 1
        self.records.append(record := decode(line))
        return record

    def rotate(self) -> None:
        """Where it is long and nothing is open, leave the last deployments in it.

        Cut off anywhere, the old file is there or the new one, whole.

        Where nothing would be gained, or the disk does not take it (OSError), the next try is made when the journal has
        doubled.
        """
        with self._lock:
            if self._whole >= self.most_bytes and self.open_record() is None and not self._torn:
                self._rotate()

    def _rotate(self) -> None:
        limit = self.most_bytes
        self.most_bytes = 2 * self._whole
        lines = self._path.read_bytes().split(b"\n")[:-1]
        stay = kept(lines, limit // 4)
        size = sum(len(line) + 1 for line in stay)
        if 2 * size > limit or not stay or readable(stay[-1]) not in self.records[-1:]:
            return
        names = set(stay)
        self._moved = True
        out = [line for line in lines if line not in names]
        try:
            for path, content in ((self._path.with_suffix(".1.jsonl"), out), (self._path, stay)):
                # Not with `write`, which would give up the last room of the disk for it.
                self._files.write_pieces(path, (line + b"\n" for line in content))
            self._moved = False
        finally:
            if self._path.stat().st_size == size:
                self._take(stay)
                self._whole = size
                self.most_bytes = limit

    @property
    def fence(self) -> int:
        """The highest one so far."""
        return max((record.fence or 0 for record in self.records), default=0)

    @property
    def next_seq(self) -> int:
        return max((record.seq for record in self.records), default=0) + 1

    def commit_of(self, release: Digest) -> Record | None:
        """The record that announced the last commit of a release: its detail has what `previous` named until then."""
        commits = (each for each in reversed(self.records) if each.stage == "COMMIT" and each.phase == "intent")
        return next((each for each in commits if each.release == release), None)

    def open_record(self) -> Record | None:
        """The last record of a deployment that neither ended well nor was closed as FAILED, or None."""
        return None if not self.records or self.records[-1].closes else self.records[-1]
