"""Several sources as one to read from, in the order they are named: mirrors first, the origin last.

A source that cannot be reached is not asked again. What is not there, or is not what its digest says, is asked for
further down the list; a name (tag) is taken from the first that has it, and what a robot runs is named by digest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeVar

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IntegrityError, NotFoundError, UsageError
from model_registry.manifests import Descriptor
from model_registry.refs import Address
from model_registry.sources import Source, checked
from model_registry.sources.patience import TransferError

T = TypeVar("T")


class MirroredSource:
    """The sources that `openers` open, each when it is first asked."""

    def __init__(self, openers: Sequence[Callable[[], Source]]) -> None:
        self._openers = list(openers)
        self._opened: dict[int, Source] = {}
        self._dead: set[int] = set()
        self._passed: dict[Digest, int] = {}
        self._lock = threading.Lock()

    @property
    def address(self) -> Address:
        """The first that is alive, for messages."""
        return next(source for _, source in self._alive()).address

    @property
    def bytes_fetched(self) -> int:
        return sum(source.bytes_fetched for source in self._opened.values())

    def repositories(self) -> tuple[str, ...]:
        return self._first(lambda source: source.repositories() or None) or ()

    def tags(self, repository: str) -> tuple[str, ...]:
        return self._first(lambda source: source.tags(repository) or None) or ()

    def find(self, repository: str, tag: str) -> Digest | None:
        return self._first(lambda source: source.find(repository, tag))

    def manifest(self, repository: str, digest: Digest) -> bytes:
        data = self._first(lambda source: source.manifest(repository, digest))
        assert data is not None  # the last source says why it has none
        return data

    def stream(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        return checked(self.read_from(repository, blob, 0), blob, f"{self.address}: {repository}")

    def read_from(
        self, repository: str, blob: Descriptor, offset: int, stop: threading.Event | None = None
    ) -> Generator[bytes, None, None]:
        """Goes on with the next source where one fails. Who had all of it and asks again found it wrong: the next is
        asked.
        """
        passed = self._passed.get(blob.digest, 0) if offset == 0 else 0
        last = len(self._openers) - 1
        for number, source in self._alive():
            if number < min(passed, last):
                continue
            try:
                for piece in source.read_from(repository, blob, offset, stop):
                    offset += len(piece)
                    yield piece
            except (TransferError, NotFoundError, IntegrityError) as error:
                if number == last:
                    raise
                self._note(number, error)
            else:
                self._passed[blob.digest] = number + 1
                return

    def known_referrers(self, repository: str, digest: Digest) -> bytes | None:
        return self._first(lambda source: source.known_referrers(repository, digest))

    def put_blob(self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]]) -> None:
        raise UsageError("a list of sources is only read; name one source to write to")

    def put_manifest(self, repository: str, data: bytes, tag: str) -> None:
        raise UsageError("a list of sources is only read; name one source to write to")

    place_manifest = put_manifest

    def _first(self, ask: Callable[[Source], T | None]) -> T | None:
        """The first answer that is one. Raises what the last source raised."""
        last = len(self._openers) - 1
        for number, source in self._alive():
            try:
                answer = ask(source)
            except (TransferError, NotFoundError, IntegrityError) as error:
                if number == last:
                    raise
                self._note(number, error)
                continue
            if answer is not None:
                return answer
        return None

    def _alive(self) -> Iterator[tuple[int, Source]]:
        """Number and source of each that may be asked; the last one always is."""
        last = len(self._openers) - 1
        for number, opener in enumerate(self._openers):
            if number in self._dead:
                continue
            try:
                with self._lock:
                    source = self._opened.get(number) or self._opened.setdefault(number, opener())
            except NotFoundError:  # a stick that is not in
                if number == last:
                    raise
                self._dead.add(number)
                continue
            yield number, source

    def _note(self, number: int, error: HomeportError) -> None:
        if isinstance(error, TransferError):
            self._dead.add(number)
