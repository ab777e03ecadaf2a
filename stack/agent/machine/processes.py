"""Which process is which: by its number, its start time and the boot, so that a number that is used again deceives
nobody.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from model_registry.core.documents import Reader, dump, fill, parse
from model_registry.core.errors import HomeportError
from model_registry.core.files import write_volatile
from model_registry.core.layout import Layout

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, for good: a pid is used again, a pid with its start time in one boot is not.

    `pid` is what the process itself calls it.
    """

    pid: int
    start_ticks: int
    boot: str


def boot_id() -> str:
    """The kernel's name for this boot: process ids mean nothing after it."""
    return _BOOT_ID.read_text().strip()


def proc_stat(pid: int, proc: Path = Path("/proc")) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on (state, parent, …); None when it is gone or a zombie."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot."""
    fields = proc_stat(pid)
    return None if fields is None else int(fields[19])


def this_process() -> ProcessId:
    """Read once: an emulator tells each thread another start of its own process."""
    return _process_of(os.getpid())


@lru_cache(maxsize=1)
def _process_of(pid: int) -> ProcessId:
    return ProcessId(pid, start_ticks(pid) or 0, boot_id())


def remember(path: Path, identity: ProcessId, host_pid: int) -> None:
    """Note who runs in a slot, for `recall` of this agent or the next one."""
    write_volatile(path, dump({**asdict(identity), "host_pid": host_pid}))


def recall(path: Path) -> ProcessId | None:
    """Who was noted, while that very process lives."""
    noted = _noted(path)
    return None if noted is None else noted[0]


def recall_host_pid(path: Path) -> int | None:
    """What this machine calls the process that was noted, while that very process lives."""
    noted = _noted(path)
    return None if noted is None else noted[1]


def _noted(path: Path) -> tuple[ProcessId, int] | None:
    try:
        reader = Reader(parse(path.read_bytes(), path.name), path.name)
        identity = fill(ProcessId, reader)
        host_pid = reader.integer("host_pid")
    except (OSError, HomeportError):
        return None
    return (identity, host_pid) if _lives(identity, host_pid) else None


def _lives(identity: ProcessId, host_pid: int) -> bool:
    return identity.boot == boot_id() and start_ticks(host_pid) == identity.start_ticks


class Notes:
    """Who runs in each slot, noted in RUN for the next agent.

    This agent knows it as well, and notes it again when somebody has swept that folder: a policy that nobody knows of
    would be started twice.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[ProcessId, int]] = {}

    def note(self, slot: str, identity: ProcessId, host_pid: int) -> None:
        """`host_pid` is what this machine calls the process."""
        self._known[slot] = (identity, host_pid)
        remember(self._layout.slot_process(slot), identity, host_pid)

    def find(self, slot: str) -> ProcessId | None:
        """Who runs in a slot, while that very process lives."""
        if (noted := recall(self._layout.slot_process(slot))) is not None:
            return noted
        identity, host_pid = self._known.get(slot, (None, 0))
        if identity is None or not _lives(identity, host_pid):
            return None
        self.note(slot, identity, host_pid)
        return identity

    def forget(self, slot: str) -> None:
        """Nobody runs there any more."""
        self._known.pop(slot, None)
        self._layout.slot_process(slot).unlink(missing_ok=True)
