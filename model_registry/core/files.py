"""Durable changes to the file system: a reader sees the old state or the new one, also after a power cut.

Everything that must survive goes through a `Files` object, so that a test can put a recording one in its place.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model_registry.core.errors import LockedError

_LOCK_POLL_S = 0.05


class Files:
    """Writes, renames and links, each synced before it returns."""

    def make_folder(self, folder: Path, mode: int = 0o755) -> None:
        """Create `folder` and its missing parents."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=mode, exist_ok=True)
            _sync(path.parent)

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Replace `path` by `data` in one step: temporary file, fsync, rename, fsync of the folder."""
        self.write_pieces(path, (data,), mode)

    def write_pieces(self, path: Path, pieces: Iterable[bytes], mode: int = 0o644) -> None:
        """Like `write` for data that arrives in pieces: when taking a piece raises, `path` is left as it was."""
        with self._replacing(path) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

    def append(self, path: Path, data: bytes) -> None:
        """Append `data` and sync it; the folder too, when the file is new."""
        new = not path.exists()
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync(path.parent)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or folder and sync the folder it is in."""
        source.replace(target)
        _sync(target.parent)

    def link(self, path: Path, target: str) -> None:
        """Make `path` a symbolic link to `target` (relative to its folder), replacing an older link in one step."""
        with self._replacing(path) as temporary:
            temporary.symlink_to(target)

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Path]:
        """A name beside `path` that is renamed to it at the end of the block, or removed when the block raises."""
        temporary = _temporary(path)
        try:
            yield temporary
            self.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below `folder`, children first."""
    for root, _, names in os.walk(folder, topdown=False):
        for path in [*(Path(root) / name for name in names), Path(root)]:
            if not path.is_symlink():
                _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_volatile(path: Path, data: bytes) -> None:
    """Replace `path` in one step without syncing: for status files on a memory file system."""
    temporary = _temporary(path)
    temporary.write_bytes(data)
    temporary.replace(path)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Run with another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def held(path: Path, timeout_s: float, what: str) -> Iterator[None]:
    """Hold the lock file `path`, waiting at most `timeout_s` seconds for another holder. Raises LockedError.

    The kernel drops the lock when its holder dies, so there is nothing to clean up.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + timeout_s
        while not _taken(descriptor):
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{what}: another process holds {path} for more than {timeout_s:.0f} s; wait for it, then try again"
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
