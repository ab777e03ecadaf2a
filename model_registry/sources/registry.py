"""Any OCI registry (distribution spec 1.1) as a source:

GET, HEAD and PUT of blobs and manifests, and the list of tags.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from urllib3.response import BaseHTTPResponse

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, NotFoundError, RefusedError, UsageError
from model_registry.core.release import check_name
from model_registry.manifests import KINDS, MAX_MANIFEST_BYTES, Descriptor, media_type_of
from model_registry.refs import Address, check_tag
from model_registry.sources import checked, has_version, named
from model_registry.sources.http import Client, TransferError, joined, read_capped
from model_registry.sources.refusals import unexpected
from model_registry.sources.upload import CHUNK_BYTES, Upload

_PIECE_BYTES = 1 << 20
_MAX_PAGES = 100
_NEXT = re.compile(r'<([^>]+)>;\s*rel="?next"?')


class RegistrySource:
    """One registry host, or a namespace of it; repositories below it. Several threads may read from it."""

    def __init__(self, address: Address, short: bool = False, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.address = address
        self.bytes_fetched = 0
        self._counting = threading.Lock()
        self._chunk_bytes = chunk_bytes
        self._client = Client(address.registry, short)

    def repositories(self) -> tuple[str, ...]:
        found = self._list("/v2/_catalog?n=1000", "repositories", "registry:catalog:*")
        if found is None:
            raise NotFoundError(f"{self.address}: this registry does not list its repositories; name the one you mean")
        prefix = self.address.namespace
        return named(check_name, [each.removeprefix(prefix) for each in found if each.startswith(prefix)])

    def tags(self, repository: str) -> tuple[str, ...]:
        found = self._list(f"/v2/{self._name(repository)}/tags/list?n=1000", "tags", self._pull(repository))
        return named(check_tag, found or ())

    def find(self, repository: str, tag: str) -> Digest | None:
        data = self._client.retry(self._get_manifest, repository, tag)
        return None if data is None else Digest.of(data)

    def manifest(self, repository: str, digest: Digest) -> bytes:
        what = f"{self.address}: {repository}@{digest}"
        data = self._client.retry(self._get_manifest, repository, str(digest))
        if data is None:
            raise NotFoundError(f"{what}: not there; push it to this source first")
        return digest.check(data, what)

    def stream(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        return checked(self.read_from(repository, blob, 0), blob, f"{self.address}: {repository}")

    def read_from(
        self, repository: str, blob: Descriptor, offset: int, stop: threading.Event | None = None
    ) -> Generator[bytes, None, None]:
        patience = self._client.patience(stop)
        while True:
            try:
                for piece in self._pieces_from(repository, blob, offset):
                    offset += len(piece)
                    patience.progress()
                    yield piece
            except TransferError as error:
                if offset == blob.size:  # it broke at its very end: every byte is here, and the digest tells
                    return
                patience.wait(error)
            else:
                return

    def put_blob(self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]]) -> None:
        self._upload(repository, blob, pieces, None)

    def mount_blob(
        self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]], origin: Address, name: str
    ) -> None:
        """Like `put_blob`, for a blob that the repository `name` of `origin` has: on one registry nothing is sent."""
        same = origin.url is not None and origin.registry == self.address.registry
        self._upload(repository, blob, pieces, origin.namespace + name if same else None)

    def _upload(
        self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]], mount_from: str | None
    ) -> None:
        upload = Upload(self._client, self._name(repository), self._push(repository), blob, pieces, self._chunk_bytes)
        upload.run(lambda: self._has_blob(repository, blob.digest), mount_from)

    def put_manifest(self, repository: str, data: bytes, tag: str) -> None:
        digest = Digest.of(data)
        if has_version(self, repository, tag, digest):
            return
        self.place_manifest(repository, data, tag)
        if (now := self.find(repository, tag)) != digest:
            raise RefusedError(
                f"{repository}:{tag}: names {now or 'nothing'} now, not {digest}; somebody else published it at the "
                "same time: raise the version"
            )

    def place_manifest(self, repository: str, data: bytes, name: str) -> None:
        self._client.retry(self._put_manifest, repository, data, name)

    def known_referrers(self, repository: str, digest: Digest) -> bytes | None:
        path = f"/v2/{self._name(repository)}/referrers/{digest}"
        return self._client.retry(self._get_referrers, repository, path)

    def _name(self, repository: str) -> str:
        return self.address.namespace + repository

    def _pull(self, repository: str) -> str:
        return f"repository:{self._name(repository)}:pull"

    def _push(self, repository: str) -> str:
        return f"repository:{self._name(repository)}:pull,push"

    def _blob(self, repository: str, digest: Digest) -> str:
        return f"/v2/{self._name(repository)}/blobs/{digest}"

    def _has_blob(self, repository: str, digest: Digest) -> bool:
        with self._client.request("HEAD", self._blob(repository, digest), scope=self._pull(repository)) as response:
            return response.status == 200

    def _put_manifest(self, repository: str, data: bytes, name: str) -> None:
        path = f"/v2/{self._name(repository)}/manifests/{name}"
        scope = self._push(repository)
        what = f"{repository}:{name}"
        headers = {"Content-Type": media_type_of(data, what), "Content-Length": str(len(data))}
        with self._client.request("PUT", path, headers=headers, body=lambda: (data,), scope=scope) as response:
            _expect(response, f"{self.address}: PUT {what}", 200, 201, 202, 204)

    def _get_manifest(self, repository: str, name: str) -> bytes | None:
        return self._get_document(repository, f"/v2/{self._name(repository)}/manifests/{name}")

    def _get_document(self, repository: str, path: str) -> bytes | None:
        what = f"{self.address}: GET {path}"
        headers = {"Accept": ", ".join(KINDS)}
        with self._client.request("GET", path, headers=headers, scope=self._pull(repository)) as response:
            if response.status == 404:
                return None
            _expect(response, what, 200)
            data = read_capped(response, MAX_MANIFEST_BYTES, what)
        with self._counting:
            self.bytes_fetched += len(data)
        return data

    def _get_referrers(self, repository: str, path: str) -> bytes | None:
        """The registry's list, or None for every answer that is none: registries that know no such list say so in as
        many ways as there are registries.
        """
        headers = {"Accept": ", ".join(KINDS)}
        with self._client.request("GET", path, headers=headers, scope=self._pull(repository)) as response:
            if response.status != 200:
                return None
            data = response.read(MAX_MANIFEST_BYTES + 1)
        with suppress(UsageError):
            document = parse(data, path, MAX_MANIFEST_BYTES)
            if isinstance(document, dict) and isinstance(document.get("manifests"), list):
                return data
        return None

    def _pieces_from(self, repository: str, blob: Descriptor, offset: int) -> Iterator[bytes]:
        """Bytes from `offset` on.

        A server that does not know ranges sends everything again, and what we have is passed over.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        path = self._blob(repository, blob.digest)
        with self._client.request("GET", path, headers=headers, scope=self._pull(repository)) as response:
            if response.status == 404:
                raise NotFoundError(f"{self.address}: {repository} has no blob {blob.digest}; push it again")
            _expect(response, f"{self.address}: GET {blob.digest}", 200, 206)
            skip = offset if response.status == 200 else 0
            if not skip and offset and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                raise HomeportError(f"{self.address}: answered another range than it was asked for; check the registry")
            for piece in response.stream(_PIECE_BYTES, decode_content=False):
                with self._counting:
                    self.bytes_fetched += len(piece)
                if fresh := piece[skip:]:
                    yield fresh
                skip = max(0, skip - len(piece))

    def _list(self, path: str, key: str, scope: str) -> tuple[str, ...] | None:
        """All pages, sorted; None where the registry has no such list."""
        names: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = self._client.retry(self._page, path, key, scope)
            if page is None:
                return None
            names.update(page.names)
            if page.following is None:
                return tuple(sorted(names))
            path = page.following
        raise HomeportError(
            f"{self.address}: lists more than {_MAX_PAGES} pages of {key}; name the repository you mean"
        )

    def _page(self, path: str, key: str, scope: str) -> _Page | None:
        what = f"{self.address}: list of {key}"
        with self._client.request("GET", path, scope=scope) as response:
            if response.status in (404, 405, 501):
                return None
            _expect(response, what, 200)
            reader = Reader(parse(read_capped(response, MAX_MANIFEST_BYTES, what), what, MAX_MANIFEST_BYTES), what)
            link = _NEXT.search(response.headers.get("Link", ""))
        following = None if link is None else joined(joined(self.address.registry, path), link.group(1))
        return _Page(_texts(reader, key), following)


@dataclass(frozen=True)
class _Page:
    """Some of the names of a list, and where the next ones are."""

    names: tuple[str, ...]
    following: str | None


def _texts(reader: Reader, key: str) -> tuple[str, ...]:
    return reader.texts(key) if reader.has(key) else ()


def _expect(response: BaseHTTPResponse, what: str, *statuses: int) -> None:
    if response.status not in statuses:
        raise unexpected(response, what)
