"""The agent's memory across crashes: one CRC-checked JSON record a line, each synced before the step it announces.

A torn last line is what a power cut leaves behind: it is dropped. A damaged line before the end is not: it is reported.
"""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError
from model_registry.core.files import Files

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STAGES = (
    *("CLAIM", "PREFLIGHT", "FETCH", "VERIFY", "STAGE", "BUILD", "PROVE", "READY", "WAIT"),
    *("SWITCH", "PROBATION", "COMMIT", "ROLLBACK", "VERIFY_ROLLBACK", "FAILED"),
)


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


def encode(fields: dict[str, object]) -> bytes:
    """One journal line with its CRC-32."""
    return dump({**fields, "crc": f"{zlib.crc32(dump(fields)):08x}"}) + b"\n"


def decode(line: bytes) -> Record:
    """Raises HomeportError when the line is not a whole record."""
    value = parse(line, "journal")
    reader = Reader(value, "journal")
    crc = reader.text("crc")
    assert isinstance(value, dict)
    if f"{zlib.crc32(dump({key: item for key, item in value.items() if key != 'crc'})):08x}" != crc:
        raise HomeportError("journal: wrong CRC")
    return Record(
        reader.integer("seq", 1),
        reader.text("deployment"),
        reader.text("stage", STAGES),
        reader.text("phase", ("intent", "done")),
        reader.digest("release") if reader.has("release") else None,
        dict(reader.table("detail", lambda item, _: item)),
    )


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
        plain: dict[str, object] = json.loads(dump(detail))
        record = Record(self.next_seq, deployment, stage, phase, release, plain)
        line = encode(
            {
                "seq": record.seq,
                "boot": boot_id(),
                "monotonic_ns": time.monotonic_ns(),
                "wall": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "deployment": deployment,
                "stage": stage,
                "phase": phase,
                "release": None if release is None else str(release),
                "detail": plain,
            }
        )
        self._files.append(self._path, line)
        self.records.append(record)

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
