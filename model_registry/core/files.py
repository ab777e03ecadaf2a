"""Durable changes to the file system: a reader sees the old state or the new one, also after a power cut.

Everything that must survive goes through a `Files` object, so that a test can put a recording one in its place.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Files:
    """Writes, renames and links, each synced before it returns."""

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_folder(self, folder: Path, mode: int = 0o755) -> None:
        """Create `folder` and its missing parents."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=mode, exist_ok=True)
            self.sync_folder(path.parent)

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Replace `path` by `data` in one step: temporary file, fsync, rename, fsync of the folder."""
        self.write_pieces(path, (data,), mode)

    def write_pieces(self, path: Path, pieces: Iterable[bytes], mode: int = 0o644) -> None:
        """Like `write` for data that arrives in pieces: when taking a piece raises, `path` is left as it was."""
        temporary = _temporary(path)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            self.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def append(self, path: Path, data: bytes) -> None:
        """Append `data` and sync it; the folder too, when the file is new."""
        new = not path.exists()
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            self.sync_folder(path.parent)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or folder and sync the folder it is in."""
        source.replace(target)
        self.sync_folder(target.parent)

    def link(self, path: Path, target: str) -> None:
        """Make `path` a symbolic link to `target` (relative to its folder), replacing an older link in one step."""
        temporary = _temporary(path)
        temporary.symlink_to(target)
        try:
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
            if path.is_symlink():
                continue
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
