"""Places that artifacts come from, behind one interface: an OCI image-layout folder, or any OCI registry over HTTP(S).

A source is not trusted: whatever is named by a digest is hashed while it arrives, and a name with another content is
never given out.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from model_registry.core.addresses import source_names
from model_registry.core.digest import Digest
from model_registry.core.errors import IntegrityError, NotFoundError, RefusedError, UsageError
from model_registry.core.files import Files
from model_registry.manifests import Descriptor
from model_registry.refs import Address, Reference

Progress = Callable[[int], None]
PIECE_BYTES = 1 << 20


def no_progress(count: int) -> None:
    """The default for `progress`: called with the number of bytes that went through, does nothing."""


class Source(Protocol):
    """Repositories of manifests and blobs. `bytes_fetched` counts every body byte that was read from it."""

    @property
    def address(self) -> Address: ...

    @property
    def bytes_fetched(self) -> int: ...

    def repositories(self) -> tuple[str, ...]:
        """Names of all repositories, sorted."""

    def tags(self, repository: str) -> tuple[str, ...]:
        """Tags of one repository, sorted; empty when there is no such repository."""

    def find(self, repository: str, tag: str) -> Digest | None:
        """The manifest that a tag names now, or None."""

    def manifest(self, repository: str, digest: Digest) -> bytes:
        """A manifest's checked bytes. Raises NotFoundError or IntegrityError."""

    def stream(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        """A blob in pieces.

        The last step raises IntegrityError when size or digest differ: use nothing before the end.
        """

    def read_from(
        self, repository: str, blob: Descriptor, offset: int, stop: threading.Event | None = None
    ) -> Generator[bytes, None, None]:
        """A blob's bytes from `offset` on, as they come and unchecked: who asks has the earlier ones, and hashes.

        Several threads may read at once; `stop` ends a pause between two tries with CancelledError.
        """

    def put_blob(self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Store a blob that is not there yet; `pieces` may be called again after a failure. Raises IntegrityError."""

    def put_manifest(self, repository: str, data: bytes, tag: str) -> None:
        """Store a manifest whose blobs are there, and name it.

        A tag that names another manifest raises RefusedError.
        """

    def place_manifest(self, repository: str, data: bytes, name: str) -> None:
        """Store a manifest under its digest, or under a tag whatever that named before: for referrers, never for
        versions.
        """

    def known_referrers(self, repository: str, digest: Digest) -> bytes | None:
        """The index of manifests with this subject, or None where a tag `sha256-<hex>` has to keep it."""


def open_source(text: str, *, writable: bool = False) -> Source:
    """Open `oci:FOLDER` or `https://HOST[/NAMESPACE]`, or several with commas between: mirrors first, to read only.

    Raises UsageError, or NotFoundError for a folder that is missing and not `writable`.
    """
    names = source_names(text)
    if len(names) == 1:
        return _open_one(names[0], writable=writable)
    if writable:
        raise UsageError(f"{len(names)} sources: only one can be written to; name the one that is to get it")
    from model_registry.sources.mirrors import MirroredSource

    return MirroredSource(
        [*(partial(_open_one, name, short=True) for name in names[:-1]), partial(_open_one, names[-1])]
    )


def _open_one(text: str, *, writable: bool = False, short: bool = False) -> Source:
    """`short`: it is not waited for when it is away."""
    address = Address.parse(text)
    if address.folder is not None:
        from model_registry.sources.layout import LayoutSource

        return LayoutSource(address, address.folder, writable=writable)
    from model_registry.sources.registry import RegistrySource

    return RegistrySource(address, short)


def resolve(source: Source, reference: Reference) -> Digest:
    """The digest that a reference names. Raises NotFoundError with the tags that do exist."""
    if reference.digest is not None:
        return reference.digest
    tag = reference.tag or ""
    if (digest := source.find(reference.repository, tag)) is None:
        known = ", ".join(name for name in source.tags(reference.repository) if len(name) < 64) or "nothing"
        raise NotFoundError(
            f"{reference}: not in {source.address}; {reference.repository} has {known}; push it there, or name another "
            "one"
        )
    return digest


def named(check: Callable[[str, str], str], names: Iterable[str]) -> tuple[str, ...]:
    """Those names of a listing that have the grammar of `check`; no other becomes a path, a request or a line."""

    def fits(name: str) -> bool:
        try:
            return check(name, "name") == name
        except UsageError:
            return False

    return tuple(filter(fits, names))


def read_blob(source: Source, repository: str, blob: Descriptor, max_bytes: int) -> bytes:
    """A small blob in memory. Raises UsageError when it claims more than `max_bytes`."""
    if blob.size > max_bytes:
        raise UsageError(f"{repository}: {blob.digest} has {blob.size} bytes, at most {max_bytes} are read here")
    return b"".join(source.stream(repository, blob))


def save_blob(source: Source, repository: str, blob: Descriptor, path: Path, progress: Progress = no_progress) -> None:
    """Write a blob to `path`, which appears only when every byte was checked."""
    Files().write_pieces(path, _counted(source.stream(repository, blob), progress))


def check_blobs(source: Source, repository: str, blobs: Iterable[Descriptor], progress: Progress = no_progress) -> None:
    """Read blobs and drop them. Raises IntegrityError or NotFoundError for the first that is not what it should be."""
    for blob in blobs:
        deque(_counted(source.stream(repository, blob), progress), maxlen=0)


def _counted(pieces: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    for piece in pieces:
        progress(len(piece))
        yield piece


def checked(pieces: Iterable[bytes], blob: Descriptor, what: str) -> Iterator[bytes]:
    """Pass pieces through while hashing them. Raises IntegrityError on the first byte too many, or at the end."""
    state = hashlib.sha256()
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > blob.size:
            raise IntegrityError(f"{what}: {blob.digest} is longer than its {blob.size} bytes; the copy was replaced")
        state.update(piece)
        yield piece
    if size != blob.size or state.hexdigest() != blob.digest.hex:
        raise IntegrityError(
            f"{what}: expected {blob.digest} of {blob.size} bytes, got sha256:{state.hexdigest()} of {size} bytes;"
            " the copy is damaged or was replaced: push it again from a good one"
        )


def file_pieces(path: Path, offset: int = 0) -> Iterator[bytes]:
    """A file's bytes from `offset` on in pieces of 1 MiB."""
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(PIECE_BYTES):
            yield piece


def copy_blob(origin: Source, target: Source, repository: str, blob: Descriptor) -> None:
    """Bring one blob from a source to another; where both are one registry, nothing is sent over the network."""
    pieces = partial(origin.stream, repository, blob)
    mount = getattr(target, "mount_blob", None)
    if mount is None:
        target.put_blob(repository, blob, pieces)
    else:
        mount(repository, blob, pieces, origin.address, repository)


def has_version(source: Source, repository: str, tag: str, digest: Digest) -> bool:
    """Whether a tag already names this manifest.

    Versions never change: raises RefusedError when it names another one.
    """
    old = source.find(repository, tag)
    if old is not None and old != digest:
        raise RefusedError(
            f"{repository}:{tag}: already names {old}, this is {digest}; a version never changes: raise the version"
        )
    return old is not None
