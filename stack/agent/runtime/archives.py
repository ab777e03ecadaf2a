"""Copies of images outside of Docker's store.

Each is `ROOT/images/<64 hex>.tar`, as `docker save` writes it, with a sidecar that says what is in it.

An archive is one only with its sidecar, which is written when the copy was read back and found whole; its bytes are
hashed again before they are loaded.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, dump, fill, parse
from model_registry.core.errors import HomeportError, IntegrityError
from model_registry.core.files import Files

_PIECE_BYTES = 1 << 20
_DOCUMENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One copy of an image.

    `image` is what a release calls it, `identity` its ID in Docker's store, `sha256` the digest of the archive's bytes.
    """

    image: Digest
    identity: Digest
    bytes: int
    sha256: Digest

    def document(self) -> dict[str, object]:
        return {
            "schema": 1,
            **asdict(self),
            **{name: str(getattr(self, name)) for name in ("image", "identity", "sha256")},
        }


class Archives:
    """The folder of archives. Everything durable goes through `files`."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self._files = files

    def path(self, image: Digest) -> Path:
        return self.folder / f"{image.hex}.tar"

    def find(self, image: Digest) -> Sidecar | None:
        """What is said of the archive of an image, when it is there in full length."""
        path = self.path(image)
        try:
            reader = Reader(parse(path.with_suffix(".json").read_bytes(), path.name), path.name)
            reader.schema()
            sidecar = fill(Sidecar, reader)
            return sidecar if sidecar.image == image and path.stat().st_size == sidecar.bytes else None
        except (OSError, HomeportError):
            return None

    def write(self, image: Digest, identity: Digest, pieces: Iterable[bytes]) -> Sidecar:
        """Store what `docker save` gives.

        Raises IntegrityError when that is not the whole image; nothing counts as an archive then.
        """
        self._files.make_folder(self.folder, 0o700)
        for leftover in self.folder.glob(".*.tmp"):  # nobody else writes here
            leftover.unlink()
        path = self.path(image)
        part = self.path(image).with_suffix(".part")
        digest = hashlib.sha256()
        size = 0

        def hashed() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece

        try:
            self._files.write_pieces(part, hashed(), 0o600)
            check_whole(part, identity)
            self._files.rename(part, path)
        finally:
            part.unlink(missing_ok=True)
        sidecar = Sidecar(image, identity, size, Digest(digest.hexdigest()))
        self._files.write(path.with_suffix(".json"), dump(sidecar.document()))
        return sidecar

    def checked(self, image: Digest) -> Path | None:
        """The archive of an image after its bytes were hashed again; None when there is none.

        Raises IntegrityError and drops it when it is damaged.
        """
        sidecar = self.find(image)
        path = self.path(image)
        if sidecar is None:
            return None
        try:
            sidecar.sha256.check_file(path, str(path))
        except IntegrityError:
            self.drop(image)
            raise
        return path

    def drop(self, image: Digest) -> None:
        """The sidecar first: what is left without one is no archive."""
        for suffix in (".json", ".tar", ".part"):
            self.path(image).with_suffix(suffix).unlink(missing_ok=True)


def check_whole(path: Path, identity: Digest) -> None:
    """Whether the document that is named by the image's ID is in an archive, and everything that it names by digest.

    Raises IntegrityError.
    """
    what = f"{path.name}: the copy of {identity}"
    held = set()
    named = None
    try:
        with tarfile.open(path, "r|") as archive:
            for member in archive:
                if member.isfile() and (stream := archive.extractfile(member)) is not None:
                    found, data = _digest(stream)
                    held.add(found)
                    if found == identity:
                        named = set(_named(Reader(parse(data, what), what)))
    except (tarfile.TarError, EOFError) as error:
        raise IntegrityError(f"{what} is torn ({error}); it is made again") from error
    if named is None or (absent := named - held):
        lacks = identity if named is None else min(map(str, absent))
        raise IntegrityError(f"{what} lacks {lacks}; it is made again")


def _digest(stream: IO[bytes]) -> tuple[Digest, bytes]:
    """The digest of a member, and its first bytes: whole for what can be a document."""
    hashed = hashlib.sha256()
    first = b""
    while piece := stream.read(_PIECE_BYTES):
        hashed.update(piece)
        first = first or piece[:_DOCUMENT_BYTES]
    return Digest(hashed.hexdigest()), first


def _named(document: Reader) -> Iterator[Digest]:
    """What an image's configuration names (its unpacked layers), or its manifest (configuration and packed layers)."""
    if document.has("rootfs"):
        yield from document.child("rootfs").items(
            "diff_ids", lambda value, path: Digest.parse(as_text(value, path), path)
        )
    with suppress(HomeportError):
        yield document.child("config").digest("digest")
        yield from document.objects("layers", lambda layer: layer.digest("digest"))
