"""Durable changes to the file system: a reader sees the old state or the new one, also after a power cut.

Everything that must survive goes through a `Files` object, so that a test can put a recording one in its place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_registry.core.errors import LockedError

_LOCK_POLL_S = 0.05


def _anyone() -> None:
    """Everybody may write."""


class Files:
    """Writes, renames and links, each synced before it returns.

    Below the line are the single steps that they are made of.

    `check` is called before each of them, and raises when this program may not write any more.
    """

    def __init__(self, check: Callable[[], None] = _anyone) -> None:
        self._check = check

    def make_folder(self, folder: Path, mode: int = 0o755) -> None:
        """Create `folder` and its missing parents."""
        self._check()
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            self._mkdir(path, mode)
            self.sync(path.parent)

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Replace `path` by `data` in one step: temporary file, fsync, rename, fsync of the folder."""
        self.write_pieces(path, (data,), mode)

    def write_pieces(self, path: Path, pieces: Iterable[bytes], mode: int = 0o644) -> None:
        """Like `write` for data that arrives in pieces: when taking a piece raises, `path` is left as it was."""
        with self._replacing(path) as temporary:
            self._create(temporary, pieces, mode)
            self.sync(temporary)

    def append(self, path: Path, data: bytes) -> None:
        """Append `data` and sync it; the folder too, when the file is new.

        When that fails, what was there stays as it was.
        """
        self._check()
        new = not path.exists()
        size = 0 if new else path.stat().st_size
        try:
            self._extend(path, data)
            self.sync(path)
        except OSError:
            with suppress(OSError):
                self.truncate(path, size)
            raise
        if new:
            self.sync(path.parent)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to its first `size` bytes. Needs no room on the disk."""
        self._truncate(path, size)
        self.sync(path)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or folder and sync the folder it is in."""
        self._check()
        self._rename(source, target)
        self.sync(target.parent)

    def move(self, source: Path, target: Path) -> None:
        """Rename a file or folder, or copy it where `target` lies on another file system: a disk or a mount of its own.

        Either way `target` appears at once and whole, and `source` is gone afterwards.
        """
        try:
            self.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_over(source, target)

    def _copy_over(self, source: Path, target: Path) -> None:
        temporary = _temporary(target)
        try:
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, temporary, symlinks=True)
                self.sync_tree(temporary)
            else:
                shutil.copy2(source, temporary, follow_symlinks=False)
                self.sync(temporary)
            self.rename(temporary, target)
        finally:
            remove(temporary)
        remove(source)

    def link(self, path: Path, target: str) -> None:
        """Make `path` a symbolic link to `target` (relative to its folder), replacing an older link in one step."""
        with self._replacing(path) as temporary:
            self._symlink(temporary, target)

    def unlink(self, path: Path) -> None:
        """Remove a file or link; nothing to do is fine."""
        self._check()
        self._unlink(path)
        self.sync(path.parent)

    def sync_tree(self, folder: Path) -> None:
        """Sync every file and folder below `folder`, children first."""
        for root, _, names in os.walk(folder, topdown=False):
            for path in [*(Path(root) / name for name in names), Path(root)]:
                if not path.is_symlink():
                    self.sync(path)

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[Path]:
        """A name beside `path` that is renamed to it at the end of the block, or removed when the block raises."""
        self._check()
        temporary = _temporary(path)
        try:
            yield temporary
            self.rename(temporary, path)
        except BaseException:
            self._unlink(temporary)
            raise

    # ----------------------------------------------------------------------------------------------------------------

    def sync(self, path: Path) -> None:
        """What was done to this file or folder is on disk when this returns."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _mkdir(self, path: Path, mode: int) -> None:
        path.mkdir(mode=mode, exist_ok=True)

    def _create(self, path: Path, pieces: Iterable[bytes], mode: int) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            for piece in pieces:
                file.write(piece)

    def _extend(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    def _truncate(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def _rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def _symlink(self, path: Path, target: str) -> None:
        path.symlink_to(target)

    def _unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Take away a file, a link or a folder with all that is in it; nothing to do is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


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


def spare(folder: Path) -> int | None:
    """Keep systemd-tmpfiles from ageing a folder and all in it, until this process ends or closes the descriptor.

    It removes what nobody has touched for days below /tmp, and leaves alone what somebody holds a lock on. None where
    somebody else holds one alone just now: ask again later.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


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
