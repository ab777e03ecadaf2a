"""Bring the files of a model to a folder: what is there stays, what another model has is copied, the rest is fetched.

Whatever is taken is hashed from its first byte in this run, wherever it comes from: what an earlier run left, a file of
another stored model, the network. A file that is wrong is thrown away and fetched anew once. Two connections fetch, and
a third thread brings finished files to the disk beside them.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from model_registry.core.errors import HomeportError, IntegrityError
from model_registry.core.files import remove
from model_registry.disk import ModelDisk
from model_registry.manifests import Descriptor, Manifest
from model_registry.models import MANIFEST_NAME, files_of
from model_registry.sources import PIECE_BYTES, Progress, Source
from model_registry.sources.meter import Meter
from model_registry.sources.patience import CancelledError

CONNECTIONS = 2
_WRITE_BACK_BYTES = 8 << 20
_DONE_MODE = 0o444


class Fetch:
    """The files of one model on their way to `folder`, which belongs to this fetch alone."""

    def __init__(
        self, source: Source, repository: str, folder: Path, files: dict[str, Descriptor], progress: Progress,
        disk: ModelDisk,
    ) -> None:  # fmt: skip
        self._source = source
        self._repository = repository
        self._folder = folder
        self._files = files
        self._progress = progress
        self._disk = disk
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._to_sync: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def tidy(self) -> None:
        """Make the folders; remove what is no file of this model, or longer than it may be."""
        self._folder.mkdir(exist_ok=True)
        for path in sorted(self._folder.rglob("*"), reverse=True):
            name = path.relative_to(self._folder).as_posix()
            wanted = self._files.get(name)
            whole = path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1
            if whole and wanted is not None and path.stat().st_size <= wanted.size:
                path.chmod(0o644)
            elif not path.is_dir() or path.is_symlink() or not any(path.iterdir()):
                remove(path)
        for name in self._files:
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)

    def missing(self) -> dict[str, int]:
        """Path → bytes that are still to come."""
        return {name: layer.size - _size(self._folder / name) for name, layer in self._files.items()}

    def reuse(self, models: Path) -> None:
        """Copy whole files that other models of the store have under the same digest; wrong ones are dropped."""
        wanted = [(name, layer) for name, layer in sorted(self._files.items()) if not _size(self._folder / name)]
        seeds = _stored_files(models) if wanted else {}
        for name, layer in wanted:
            if (seed := seeds.get(str(layer.digest))) is not None:
                self._copy(seed, self._folder / name, layer)

    def reserve(self) -> None:
        """Take the room for all that is to come. Raises OSError (ENOSPC) where there is none."""
        for name, layer in self._files.items():
            with _opened(self._folder / name) as descriptor:
                self._disk.reserve(descriptor, layer.size)

    def run(self) -> None:
        """Fetch what is missing and check everything.

        Raises IntegrityError for a file whose bytes are wrong twice, or the first other error; what is right stays.
        """
        work: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in sorted(self._files, key=lambda each: -self._files[each].size):
            work.put(name)
        if isinstance(self._progress, Meter):
            self._progress.expect(sum(layer.size for layer in self._files.values()))
        syncing = threading.Thread(target=self._guarded, args=(self._sync,), daemon=True)
        fetching = [
            threading.Thread(target=self._guarded, args=(lambda: self._take(work),), daemon=True)
            for _ in range(min(CONNECTIONS, len(self._files)))
        ]
        for thread in (syncing, *fetching):
            thread.start()
        try:
            for thread in fetching:
                thread.join()
        finally:
            self._stop.set()
            self._to_sync.put(None)
            syncing.join()
        if self._failures:
            raise next((each for each in self._failures if not isinstance(each, CancelledError)), self._failures[0])

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            self._failures.append(error)
            self._stop.set()

    def _take(self, work: queue.SimpleQueue[str]) -> None:
        while not self._stop.is_set():
            try:
                name = work.get_nowait()
            except queue.Empty:
                return
            self._fetch(self._folder / name, self._files[name])

    def _fetch(self, path: Path, layer: Descriptor) -> None:
        with _opened(path) as descriptor:
            if not (self._complete(descriptor, layer) or self._complete(descriptor, layer)):
                path.unlink()
                raise IntegrityError(
                    f"{self._source.address}: {self._repository}: expected {layer.digest} of {layer.size} bytes, got"
                    " others twice; the copy is damaged or was replaced: push it again from a good one"
                )
            os.fchmod(descriptor, _DONE_MODE)
            self._to_sync.put(os.dup(descriptor))

    def _complete(self, descriptor: int, layer: Descriptor) -> bool:
        """Hash what is there, append what is missing; False after emptying the file, where the bytes are wrong."""
        state = hashlib.sha256()
        size = 0
        for piece in _pieces(descriptor):
            self._check_on()
            state.update(piece)
            size += len(piece)
            _tell_there(self._progress, len(piece))
        written = size
        with closing(self._rest(layer, size)) as pieces:
            for piece in pieces:
                self._check_on()
                size += len(piece)
                if size > layer.size:
                    break
                state.update(piece)
                self._disk.write(descriptor, piece)
                if size - written >= _WRITE_BACK_BYTES:
                    self._disk.begin_writing(descriptor, written, size - written)
                    written = size
                self._progress(len(piece))
        if size == layer.size and state.hexdigest() == layer.digest.hex:
            return True
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        _tell_there(self._progress, -min(size, layer.size))
        return False

    def _rest(self, layer: Descriptor, size: int) -> Generator[bytes, None, None]:
        if size < layer.size:
            yield from self._source.read_from(self._repository, layer, size, self._stop)

    def _copy(self, seed: Path, path: Path, layer: Descriptor) -> None:
        """What is wrong or cannot be read is left to the network."""
        state = hashlib.sha256()
        with suppress(OSError), seed.open("rb") as file, _opened(path) as descriptor:
            while piece := file.read(PIECE_BYTES):
                state.update(piece)
                self._disk.write(descriptor, piece)
        if state.hexdigest() != layer.digest.hex:
            path.unlink(missing_ok=True)

    def _check_on(self) -> None:
        if self._stop.is_set():
            raise CancelledError("called off; try again")

    def _sync(self) -> None:
        """Bring finished files to the disk while others still come."""
        while (descriptor := self._to_sync.get()) is not None:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _tell_there(progress: Progress, count: int) -> None:
    """Bytes that are here and were not fetched; a plain callback counts only what came."""
    if isinstance(progress, Meter):
        progress.took(count)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor to read and write a file from its start; it is made where there is none, and no link is followed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE_BYTES):
        yield piece


def _stored_files(models: Path) -> dict[str, Path]:
    """Digest → a file of a stored model that is listed with it; whether it still is that is for the reader to find."""
    found: dict[str, Path] = {}
    for manifest in sorted(models.glob(f"{'[0-9a-f]' * 64}/{MANIFEST_NAME}")):
        with suppress(OSError, HomeportError):
            files = files_of(Manifest.parse(manifest.read_bytes(), str(manifest)), str(manifest))
            for name, layer in files.items():
                path = manifest.parent / name
                if path.is_file() and path.stat().st_size == layer.size:
                    found.setdefault(str(layer.digest), path)
    return found
