"""Bring one blob into a registry, over links that break.

A small blob is one PUT. A large one goes in chunks where the registry takes them (OCI distribution, "pushing a blob in
chunks"): after a break the registry is asked how much has arrived, and the rest is sent. Nothing is sent twice before
the registry was asked whether it has the blob: the answer to the last PUT may be lost, or take minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from urllib3.response import BaseHTTPResponse

from model_registry.core.errors import HomeportError
from model_registry.manifests import Descriptor
from model_registry.sources import checked
from model_registry.sources.http import READ_S, Client, TransferError, joined
from model_registry.sources.refusals import unexpected

CHUNK_BYTES = 64 << 20
"""A blob up to here is one PUT."""
_COMMIT_S = 300.0
_COMMIT_BYTES_S = 20e6
"""How fast a slow registry moves what it has received to where it keeps it."""
_ARRIVED = re.compile(r"(?:bytes=)?0-(\d+)")
_DONE = (200, 201, 204)


class ChunksRefusedError(HomeportError):
    """This registry takes a blob in one piece only."""


class Upload:
    """One blob on its way to `repository`, which has the name that the registry knows."""

    def __init__(
        self, client: Client, repository: str, scope: str, blob: Descriptor, pieces: Callable[[], Iterable[bytes]],
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:  # fmt: skip
        self._client = client
        self._start = f"/v2/{repository}/blobs/uploads/"
        self._scope = scope
        self._blob = blob
        self._pieces = pieces
        self._what = f"{client.url}: push to {repository}"
        self._location: str | None = None
        self._chunked = blob.size > chunk_bytes
        self._chunk_bytes = chunk_bytes
        self._sent = 0

    def run(self, is_there: Callable[[], bool], mount_from: str | None = None) -> None:
        """Send it, unless it is there; with `mount_from` another repository of this registry is asked to give it."""
        patience = self._client.patience()
        while True:
            before = self._sent
            try:
                if is_there() or (mount_from is not None and self._mount(mount_from)):
                    return
                self._send()
            except ChunksRefusedError:
                self._chunked = False
                self._location = None
            except TransferError as error:
                if self._sent > before:
                    patience.progress()
                patience.wait(error)
            else:
                return

    def _mount(self, origin: str) -> bool:
        query = urlencode({"mount": str(self._blob.digest), "from": origin})
        scope = f"{self._scope} repository:{origin}:pull"
        headers = {"Content-Length": "0"}
        with self._client.request("POST", f"{self._start}?{query}", headers=headers, scope=scope) as answer:
            if answer.status == 202:
                self._location = self._next(answer, self._start)
            return answer.status == 201

    def _send(self) -> None:
        if not self._chunked:
            location, self._location = self._location or self._begin(), None
            self._commit(location, self._body, self._blob.size)
            return
        arrived = self._arrived()
        if arrived is None:
            self._location = self._begin()
            arrived = 0
        self._sent = arrived
        stream = _Chunks(self._body(), arrived)
        while self._sent < self._blob.size:
            self._send_chunk(stream)
        stream.finish()
        self._commit(str(self._location), lambda: (), 0)

    def _begin(self) -> str:
        with self._client.request("POST", self._start, headers={"Content-Length": "0"}, scope=self._scope) as answer:
            if answer.status != 202:
                raise unexpected(answer, self._what)
            least = answer.headers.get("OCI-Chunk-Min-Length", "")
            self._chunk_bytes = max(self._chunk_bytes, int(least) if least.isdecimal() else 0)
            return self._next(answer, self._start)

    def _next(self, answer: BaseHTTPResponse, asked: str) -> str:
        return joined(joined(self._client.url, asked), answer.headers.get("Location") or asked)

    def _arrived(self) -> int | None:
        """How many bytes an upload that broke off has; None where there is none to go on with."""
        if self._location is None:
            return None
        with self._client.request("GET", self._location, scope=self._scope) as answer:
            found = _ARRIVED.fullmatch(answer.headers.get("Range", ""))
            if answer.status not in (200, 204) or found is None:
                return None
            self._location = self._next(answer, self._location)
            arrived = int(found[1]) + 1 if int(found[1]) else 0
            return arrived if arrived <= self._blob.size else None

    def _send_chunk(self, stream: _Chunks) -> None:
        size = min(self._chunk_bytes, self._blob.size - self._sent)
        location = str(self._location)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Content-Range": f"{self._sent}-{self._sent + size - 1}",
        }
        body = stream.chunk(size)
        with self._client.request(
            "PATCH", location, headers=headers, body=body, scope=self._scope, read_s=2 * READ_S
        ) as answer:
            if answer.status not in (202, *_DONE):
                if self._sent == 0 and answer.status in (400, 404, 405, 411, 415, 416, 501):
                    raise ChunksRefusedError(str(unexpected(answer, self._what)))
                if answer.status in (404, 416):
                    self._location = None
                    raise TransferError(f"{self._what}: its upload was lost (HTTP {answer.status}); try again later")
                raise unexpected(answer, self._what)
            self._location = self._next(answer, location)
        self._sent += size

    def _commit(self, location: str, body: Callable[[], Iterable[bytes]], size: int) -> None:
        parts = urlsplit(location)
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", str(self._blob.digest))])
        target = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        read_s = _COMMIT_S + self._blob.size / _COMMIT_BYTES_S
        with self._client.request(
            "PUT", target, headers=headers, body=body, scope=self._scope, read_s=read_s
        ) as answer:
            if answer.status not in _DONE:
                raise unexpected(answer, self._what)
        self._location = None

    def _body(self) -> Iterator[bytes]:
        return checked(self._pieces(), self._blob, f"{self._what}: read to be pushed")


class _Chunks:
    """A stream of pieces from `offset` on, handed out in chunks that end where they have to."""

    def __init__(self, pieces: Iterator[bytes], offset: int) -> None:
        self._pieces = pieces
        self._rest = b""
        while offset > 0:
            piece = next(pieces)
            self._rest = piece[offset:]
            offset -= len(piece)

    def chunk(self, size: int) -> Callable[[], Iterator[bytes]]:
        """The next `size` bytes as a body. Asking for it again raises TransferError: the registry may have some."""
        bodies = iter((self._take(size),))

        def body() -> Iterator[bytes]:
            for each in bodies:
                return each
            raise TransferError("a chunk has to be sent again; try again later")

        return body

    def finish(self) -> None:
        """Read to the end: what checks a stream speaks after its last byte."""
        for _ in self._pieces:
            pass

    def _take(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._rest or next(self._pieces, b"")
            self._rest = piece[left:]
            piece = piece[:left]
            if not piece:
                return
            left -= len(piece)
            yield piece
