"""Any OCI registry (distribution spec 1.1) as a source:

GET, HEAD and PUT of blobs and manifests, and the list of tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from urllib3.response import BaseHTTPResponse

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, NotFoundError
from model_registry.core.release import check_name
from model_registry.manifests import KINDS, MAX_MANIFEST_BYTES, Descriptor, media_type_of
from model_registry.refs import Address, check_tag
from model_registry.sources import checked, has_version, named
from model_registry.sources.http import TRIES, Client, TransferError, joined, pause, read_capped

_PIECE_BYTES = 1 << 18
_MAX_PAGES = 100
_NEXT = re.compile(r'<([^>]+)>;\s*rel="?next"?')


class RegistrySource:
    """One registry host; repositories below it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.bytes_fetched = 0
        self._client = Client(str(address))

    def repositories(self) -> tuple[str, ...]:
        return named(check_name, self._list("/v2/_catalog?n=1000", "repositories", "registry:catalog:*"))

    def tags(self, repository: str) -> tuple[str, ...]:
        return named(check_tag, self._list(f"/v2/{repository}/tags/list?n=1000", "tags", _pull(repository)))

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
        return checked(self._pieces(repository, blob), blob, f"{self.address}: {repository}")

    def put_blob(self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]]) -> None:
        if not self._client.retry(self._has_blob, repository, blob.digest):
            self._client.retry(self._upload, repository, blob, pieces)

    def put_manifest(self, repository: str, data: bytes, tag: str) -> None:
        if not has_version(self, repository, tag, Digest.of(data)):
            self.place_manifest(repository, data, tag)

    def place_manifest(self, repository: str, data: bytes, name: str) -> None:
        self._client.retry(self._put_manifest, repository, data, name)

    def known_referrers(self, repository: str, digest: Digest) -> bytes | None:
        return self._client.retry(self._get_document, repository, f"/v2/{repository}/referrers/{digest}")

    def _has_blob(self, repository: str, digest: Digest) -> bool:
        with self._client.request("HEAD", _blob(repository, digest), scope=_pull(repository)) as response:
            return response.status == 200

    def _put_manifest(self, repository: str, data: bytes, name: str) -> None:
        path = f"/v2/{repository}/manifests/{name}"
        scope = _push(repository)
        what = f"{repository}:{name}"
        headers = {"Content-Type": media_type_of(data, what), "Content-Length": str(len(data))}
        with self._client.request("PUT", path, headers=headers, body=lambda: (data,), scope=scope) as response:
            _expect(response, f"{self.address}: PUT {what}", 201)

    def _get_manifest(self, repository: str, name: str) -> bytes | None:
        return self._get_document(repository, f"/v2/{repository}/manifests/{name}")

    def _get_document(self, repository: str, path: str) -> bytes | None:
        what = f"{self.address}: GET {path}"
        headers = {"Accept": ", ".join(KINDS)}
        with self._client.request("GET", path, headers=headers, scope=_pull(repository)) as response:
            if response.status == 404:
                return None
            _expect(response, what, 200)
            data = read_capped(response, MAX_MANIFEST_BYTES, what)
        self.bytes_fetched += len(data)
        return data

    def _pieces(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        """The body of a blob; goes on where it stopped when the connection breaks."""
        offset = 0
        failures = 0
        while True:
            try:
                for piece in self._pieces_from(repository, blob, offset):
                    offset += len(piece)
                    yield piece
            except TransferError:
                failures += 1
                if failures >= TRIES:
                    raise
                pause(failures - 1)
            else:
                return

    def _pieces_from(self, repository: str, blob: Descriptor, offset: int) -> Iterator[bytes]:
        """Bytes from `offset` on.

        A server that does not know ranges sends everything again, and what we have is passed over.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        path = _blob(repository, blob.digest)
        with self._client.request("GET", path, headers=headers, scope=_pull(repository)) as response:
            if response.status == 404:
                raise NotFoundError(f"{self.address}: {repository} has no blob {blob.digest}; push it again")
            _expect(response, f"{self.address}: GET {blob.digest}", 200, 206)
            skip = offset if response.status == 200 else 0
            if not skip and offset and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                raise HomeportError(f"{self.address}: answered another range than it was asked for; check the registry")
            for piece in response.stream(_PIECE_BYTES, decode_content=False):
                self.bytes_fetched += len(piece)
                if fresh := piece[skip:]:
                    yield fresh
                skip = max(0, skip - len(piece))

    def _upload(self, repository: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]]) -> None:
        what = f"{self.address}: push to {repository}"
        start = f"/v2/{repository}/blobs/uploads/"
        scope = _push(repository)
        with self._client.request("POST", start, headers={"Content-Length": "0"}, scope=scope) as response:
            _expect(response, what, 202)
            location = joined(joined(str(self.address), start), response.headers.get("Location", ""))
        parts = urlsplit(location)
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", str(blob.digest))])
        target = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}

        def body() -> Iterator[bytes]:
            return checked(pieces(), blob, f"{repository}: read to be pushed")

        with self._client.request("PUT", target, headers=headers, body=body, scope=scope) as response:
            _expect(response, what, 201)

    def _list(self, path: str, key: str, scope: str) -> tuple[str, ...]:
        names: set[str] = set()
        for _ in range(_MAX_PAGES):
            page, following = self._client.retry(self._page, path, key, scope)
            names.update(page)
            if following is None:
                return tuple(sorted(names))
            path = following
        raise HomeportError(
            f"{self.address}: lists more than {_MAX_PAGES} pages of {key}; name the repository you mean"
        )

    def _page(self, path: str, key: str, scope: str) -> tuple[tuple[str, ...], str | None]:
        what = f"{self.address}: list of {key}"
        with self._client.request("GET", path, scope=scope) as response:
            if response.status == 404:
                return (), None
            _expect(response, what, 200)
            reader = Reader(parse(read_capped(response, MAX_MANIFEST_BYTES, what), what, MAX_MANIFEST_BYTES), what)
            link = _NEXT.search(response.headers.get("Link", ""))
        following = None if link is None else joined(joined(str(self.address), path), link.group(1))
        return (reader.texts(key) if reader.has(key) else ()), following


def _blob(repository: str, digest: Digest) -> str:
    return f"/v2/{repository}/blobs/{digest}"


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _expect(response: BaseHTTPResponse, what: str, *statuses: int) -> None:
    if response.status not in statuses:
        raise HomeportError(
            f"{what}: unexpected answer HTTP {response.status}; is this an OCI registry, and up to date?"
        )
