"""Room on the robot's disk: what must stay free, and a file that is given up for the journal when nothing is."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.errors import RefusedError
from model_registry.core.files import Files

RESERVE_BYTES = 256 << 20
"""What no release and no copy may take."""
_LAST_BYTES = 4 << 20


def check_room(folder: Path, needed: Mapping[str, int]) -> None:
    """Whether what is needed fits beside the reserve. Raises RefusedError with the bytes and what makes room."""
    free = shutil.disk_usage(folder).free
    parts = {**needed, "a reserve": RESERVE_BYTES}
    if free < (total := sum(parts.values())):
        told = ", ".join(f"{what} {size}" for what, size in parts.items() if size)
        raise RefusedError(f"{folder}: {free} bytes free, {total} needed ({told}); make room: `homeport-agent prune`")


@dataclass(frozen=True, slots=True)
class Need:
    """`what` will take so many `bytes` in `folder`, which may not be there yet."""

    folder: Path
    what: str
    bytes: int


def check_rooms(needs: Iterable[Need]) -> None:
    """The same for several folders, which may lie on disks of their own.

    Raises RefusedError for the first disk that is too small.
    """
    disks: dict[int, tuple[Path, dict[str, int]]] = {}
    for need in needs:
        folder = next(path for path in (need.folder, *need.folder.parents) if path.exists())
        _, parts = disks.setdefault(folder.stat().st_dev, (folder, {}))
        parts[need.what] = need.bytes
    for folder, parts in disks.values():
        if any(parts.values()):
            check_room(folder, parts)


def shortage(folders: Iterable[Path], least_bytes: int = RESERVE_BYTES) -> str | None:
    """What to say of a disk on which less is free than no release may take; None when there is enough.

    What fails there is not the release's fault.
    """
    for folder in folders:
        if (free := shutil.disk_usage(folder).free) < least_bytes:
            return f"{folder}: only {free} bytes free; make room: `homeport-agent prune`"
    return None


def size_of(path: Path) -> int:
    """Bytes that a file or folder takes on the disk; what vanishes meanwhile counts nothing."""
    total = 0
    for each in (path, *path.rglob("*")) if path.is_dir() and not path.is_symlink() else (path,):
        with suppress(OSError):
            total += each.lstat().st_blocks * 512
    return total


def refill(reserve: Path) -> None:
    """Take the last bytes, or take them again, while others leave enough for it."""
    size = reserve.stat().st_size if reserve.exists() else 0
    if size < _LAST_BYTES and shutil.disk_usage(reserve.parent).free > RESERVE_BYTES:
        with reserve.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _LAST_BYTES)


class ReservedFiles(Files):
    """Files of the agent.

    A record or a link that finds the disk full is written into the room of a file that was kept for it.
    """

    def __init__(self, reserve: Path, check: Callable[[], None]) -> None:
        super().__init__(check)
        self._reserve = reserve

    def append(self, path: Path, data: bytes) -> None:
        self._once_more(lambda: super(ReservedFiles, self).append(path, data))

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        self._once_more(lambda: super(ReservedFiles, self).write(path, data, mode))

    def link(self, path: Path, target: str) -> None:
        self._once_more(lambda: super(ReservedFiles, self).link(path, target))

    def _once_more(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._reserve.exists():
                raise
            self._reserve.unlink()
            act()
