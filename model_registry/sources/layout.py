"""An OCI image-layout folder as a source: the default that needs no server.

Readers need no lock, because every change is one rename.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import NotFoundError, RefusedError, UsageError
from model_registry.core.files import Files, held
from model_registry.manifests import INDEX, MAX_MANIFEST_BYTES, Descriptor, media_type_of
from model_registry.refs import Address, Reference
from model_registry.sources import checked, file_pieces, has_version

_REF_NAME = "org.opencontainers.image.ref.name"
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_MAX_INDEX_BYTES = 16 << 20
_MAX_INDEX_COST = 256 << 20
_MAX_MARKER_BYTES = 65_536
_LOCK_S = 30.0


class LayoutSource:
    """`folder/{oci-layout,index.json,blobs/sha256/…}`; one blob store for all repositories."""

    def __init__(self, address: Address, folder: Path, *, writable: bool = False) -> None:
        self.address = address
        self.bytes_fetched = 0
        self._counting = threading.Lock()
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._files = Files()
        if writable:
            self._create()
        self._check_version()

    def repositories(self) -> tuple[str, ...]:
        return tuple(sorted({name.rpartition(":")[0] for name in self._names()}))

    def tags(self, repository: str) -> tuple[str, ...]:
        prefix = f"{repository}:"
        return tuple(sorted(name.removeprefix(prefix) for name in self._names() if name.startswith(prefix)))

    def find(self, repository: str, tag: str) -> Digest | None:
        return self._names().get(f"{repository}:{tag}")

    def manifest(self, repository: str, digest: Digest) -> bytes:
        what = f"{self.address}: {repository}@{digest}"
        path = self._blobs / digest.hex
        try:
            if not path.is_file():
                raise NotFoundError(f"{what}: not there; push it to this source first")
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                raise UsageError(f"{what}: too large for a manifest; name a manifest's digest")
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"{what}: not there; push it to this source first") from error
        self.bytes_fetched += len(data)
        return digest.check(data, what)

    def read_from(
        self, repository: str, blob: Descriptor, offset: int, stop: threading.Event | None = None
    ) -> Generator[bytes, None, None]:
        path = self._blobs / blob.digest.hex
        try:
            if not path.is_file():  # a pipe would be waited for, a device would never end
                raise NotFoundError(f"{self.address}: {repository}: {blob.digest} is no file there; push it again")
            for piece in file_pieces(path, offset):
                with self._counting:
                    self.bytes_fetched += len(piece)
                yield piece
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.address}: {repository}: {blob.digest} is missing; push it again") from error

    def stream(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        return checked(self.read_from(repository, blob, 0), blob, f"{self.address}: {repository}")

    def put_blob(self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]]) -> None:
        path = self._blobs / blob.digest.hex
        if not path.is_file() or Digest.of_file(path) != blob.digest:
            self._files.write_pieces(path, checked(pieces(), blob, f"{repository}: read to be stored"))

    def put_manifest(self, repository: str, data: bytes, tag: str) -> None:
        with held(self._folder / "index.json.lock", _LOCK_S, str(self.address)):
            if not has_version(self, repository, tag, Digest.of(data)):
                self._name(f"{repository}:{tag}", data, self._entries())

    def place_manifest(self, repository: str, data: bytes, name: str) -> None:
        with held(self._folder / "index.json.lock", _LOCK_S, str(self.address)):
            if name == str(Digest.of(data)):
                self._files.write(self._blobs / Digest.of(data).hex, data)
                return
            full = f"{repository}:{name}"
            others = [each for each in self._entries() if not (isinstance(each, dict) and _named(each) == full)]
            self._name(full, data, others)

    def known_referrers(self, repository: str, digest: Digest) -> bytes | None:
        return None

    def _name(self, name: str, data: bytes, others: list[object]) -> None:
        manifest = Descriptor.of(media_type_of(data, name), data, {_REF_NAME: name})
        self._files.write(self._blobs / manifest.digest.hex, data)
        self._files.write(self._folder / "index.json", _index([*others, manifest.fields()]))

    def _create(self) -> None:
        self._files.make_folder(self._blobs)
        with held(self._folder / "index.json.lock", _LOCK_S, str(self.address)):
            if not (self._folder / "index.json").exists():
                self._files.write(self._folder / "index.json", _index([]))
            if not (self._folder / "oci-layout").exists():
                self._files.write(self._folder / "oci-layout", _MARKER)

    def _check_version(self) -> None:
        marker = self._folder / "oci-layout"
        if not marker.is_file():
            raise NotFoundError(
                f"{self.address}: no OCI image layout there; check the path, or `homeport model pack` into it"
            )
        with marker.open("rb") as file:
            reader = Reader(parse(file.read(_MAX_MARKER_BYTES + 1), str(marker), _MAX_MARKER_BYTES), str(marker))
        version = reader.text("imageLayoutVersion")
        if version.partition(".")[0] != "1":
            raise UsageError(f"{self.address}: is an OCI image layout of version {version}; only 1.x is read here")

    def _entries(self) -> list[object]:
        """The index as it stands, entries of other programs included."""
        what = f"{self.address}: index.json"
        try:
            data = (self._folder / "index.json").read_bytes()
        except OSError as error:
            raise NotFoundError(f"{what}: cannot be read ({error.strerror}); is this an OCI image layout?") from error
        entries = parse(data, what, _MAX_INDEX_BYTES, _MAX_INDEX_COST)
        if not isinstance(entries, dict) or not isinstance(entries.get("manifests"), list):
            raise UsageError(f"{what}: lists no manifests; is this an OCI image layout?")
        manifests: list[object] = entries["manifests"]
        return manifests

    def _names(self) -> dict[str, Digest]:
        """`repository:tag` → manifest.

        Entries that are not in our grammar belong to other programs and are passed over. Raises RefusedError for
        a name that stands for two manifests: programs differ in which of them they take.
        """
        names: dict[str, Digest] = {}
        for value in self._entries():
            with suppress(UsageError):
                entry = Reader(value, "entry")
                name = Reference.parse(entry.child("annotations").text(_REF_NAME))
                digest = entry.digest("digest")
                if names.setdefault(str(name), digest) != digest:
                    both = f"{names[str(name)]} and {digest}"
                    raise RefusedError(f"{self.address}: index.json names both {both} {name}; remove one entry")
        return names


def _named(entry: dict[str, object]) -> object:
    annotations = entry.get("annotations")
    return annotations.get(_REF_NAME) if isinstance(annotations, dict) else None


def _index(manifests: list[object]) -> bytes:
    return dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
