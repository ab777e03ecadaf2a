"""An OCI registry in memory, over real HTTP on loopback, with switches for what goes wrong in the field.

with FakeRegistry() as registry:
    registry.faults.flip = digest      # serve this blob with one byte changed
    …
    registry.requests                  # [(method, path, status, bytes sent)]
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import pytest

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/(?P<rest>[^/]*)")


_KNOWN = (
    *("HOMEPORT_REGISTRY_AUTH", "HOMEPORT_CA_FILE", "SSL_CERT_FILE"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
)


@dataclass
class Faults:
    """What goes wrong. Digests are `sha256:…`; counters go down to zero as they fire."""

    flip: str | None = None
    truncate: dict[str, int] = field(default_factory=dict)
    errors_500: int = 0
    redirect_blobs_to: str | None = None
    credentials: str | None = None
    bearer: bool = False
    ranges: bool = False
    answer_manifests_with: bytes | None = None
    no_referrers: bool = False
    chunks: bool = False
    answer: Callable[[Handler], bool] | None = None
    """Looks at each request first; true when it has answered it."""


class FakeRegistry:
    """`url`, the stored `blobs`, `manifests` and `tags`, and the log of `requests`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.held: set[tuple[str, str]] = set()
        """Repository and digest of each blob as it was pushed; any repository gives out any of them."""
        self.requests: list[tuple[str, str, int, int]] = []
        self.authorizations: list[str | None] = []
        self.faults = Faults()
        self.uploads: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (Handler,), {"registry": self}))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FakeRegistry:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def bytes_sent(self) -> int:
        with self.lock:
            return sum(sent for method, _, status, sent in self.requests if method == "GET" and status in (200, 206))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up in the middle, or do not like our certificate, are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Requests are logged in `registry.requests`, not on stderr."""

    def do_GET(self) -> None:
        self._route()

    do_HEAD = do_PUT = do_POST = do_PATCH = do_GET

    def _route(self) -> None:
        faults, parts = self.registry.faults, urlsplit(self.path)
        body = self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.registry.authorizations.append(self.headers.get("Authorization"))
        if faults.answer is not None and faults.answer(self):
            return None
        if parts.path == "/token":
            wanted = faults.credentials
            token = json.dumps({"token": "good"}).encode()
            return self.reply(200, token) if self.headers.get("Authorization") == wanted else self.reply(401)
        if not self._allowed():
            return None
        if faults.errors_500 > 0:
            faults.errors_500 -= 1
            return self.reply(500)
        if parts.path == "/v2/_catalog":
            names = sorted({name for name, _ in self.registry.tags})
            return self.reply(200, json.dumps({"repositories": names}).encode())
        if (match := _PATH.fullmatch(parts.path)) is None:
            return self.reply(404)
        verb = f"_{self.command.lower()}_{match['kind'].replace('/', '_')}".replace("_head_", "_get_")
        action = getattr(self, verb, None)
        return self.reply(405) if action is None else action(match["name"], match["rest"], body)

    def _allowed(self) -> bool:
        faults = self.registry.faults
        if faults.credentials is None:
            return True
        wanted = "Bearer good" if faults.bearer else faults.credentials
        if self.headers.get("Authorization") == wanted:
            return True
        realm = f'Bearer realm="{self.registry.url}/token",service="fake",scope="x"'
        self.reply(401, headers={"WWW-Authenticate": realm if faults.bearer else 'Basic realm="fake"'})
        return False

    def _get_manifests(self, name: str, rest: str, body: bytes) -> None:
        digest = rest if rest.startswith("sha256:") else self.registry.tags.get((name, rest), "")
        data = self.registry.manifests.get(digest)
        if data is not None and self.registry.faults.answer_manifests_with is not None:
            data = self.registry.faults.answer_manifests_with
        self.reply(404) if data is None else self.reply(200, data)

    def _put_manifests(self, name: str, rest: str, body: bytes) -> None:
        document = json.loads(body)
        blobs = [document["config"], *document["layers"]] if "layers" in document else []
        missing = {blob["digest"] for blob in blobs} - set(self.registry.blobs)
        missing |= {each["digest"] for each in document.get("manifests", ())} - set(self.registry.manifests)
        if missing or self.headers.get("Content-Type") != document["mediaType"]:
            return self.reply(400)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.registry.manifests[digest] = body
        if rest != digest:
            self.registry.tags[name, rest] = digest
        return self.reply(201)

    def _get_referrers(self, name: str, rest: str, body: bytes) -> None:
        if self.registry.faults.no_referrers:
            return self.reply(404)
        stored = {digest: (data, json.loads(data)) for digest, data in self.registry.manifests.items()}
        found = [
            {"mediaType": read["mediaType"], "digest": digest, "size": len(data), "artifactType": read["artifactType"]}
            for digest, (data, read) in stored.items()
            if read.get("subject", {}).get("digest") == rest
        ]
        return self.reply(200, json.dumps({"schemaVersion": 2, "manifests": found}).encode())

    def _get_tags(self, name: str, rest: str, body: bytes) -> None:
        tags = sorted(tag for each, tag in self.registry.tags if each == name)
        query = parse_qs(urlsplit(self.path).query)
        start = tags.index(query["last"][0]) + 1 if "last" in query else 0
        page = tags[start : start + 2]
        link = {"Link": f'</v2/{name}/tags/list?last={page[-1]}>; rel="next"'} if start + 2 < len(tags) else {}
        self.reply(200, json.dumps({"name": name, "tags": page}).encode(), link) if tags else self.reply(404)

    def _get_blobs(self, name: str, rest: str, body: bytes) -> None:
        faults, data = self.registry.faults, self.registry.blobs.get(rest)
        if data is None:
            return self.reply(404)
        if faults.redirect_blobs_to is not None and self.command == "GET":
            return self.reply(307, headers={"Location": faults.redirect_blobs_to + self.path})
        if faults.flip == rest:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if faults.ranges else None
        start = int(wanted[1]) if wanted else 0
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if wanted else {}
        cut = None
        if self.command == "GET" and faults.truncate.get(rest, 0) > 0:
            faults.truncate[rest] -= 1
            cut = (len(data) - start) // 2
        return self.reply(206 if wanted else 200, data[start:], headers, cut)

    def _post_blobs_uploads(self, name: str, rest: str, body: bytes) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "mount" in query and (query["from"][0], query["mount"][0]) in self.registry.held:
            self.registry.held.add((name, query["mount"][0]))
            return self.reply(201)
        upload = uuid.uuid4().hex
        self.registry.uploads[upload] = b""
        return self.reply(202, headers={"Location": f"/v2/{name}/blobs/uploads/{upload}?state=a%2Fb"})

    def _put_blobs_uploads(self, name: str, rest: str, body: bytes) -> None:
        query = parse_qs(urlsplit(self.path).query)
        body = self.registry.uploads.get(rest, b"") + body
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if rest not in self.registry.uploads or query.get("digest") != [digest] or query.get("state") != ["a/b"]:
            return self.reply(400)
        self.registry.blobs[digest] = body
        self.registry.held.add((name, digest))
        return self.reply(201)

    def _patch_blobs_uploads(self, name: str, rest: str, body: bytes) -> None:
        if not self.registry.faults.chunks:
            return self.reply(405)
        arrived = self.registry.uploads[rest]
        start = int(self.headers["Content-Range"].partition("-")[0])
        if start != len(arrived):
            return self.reply(416)
        self.registry.uploads[rest] = arrived + body
        return self._reply_upload(202, name, rest)

    def _get_blobs_uploads(self, name: str, rest: str, body: bytes) -> None:
        self._reply_upload(204, name, rest) if rest in self.registry.uploads else self.reply(404)

    def _reply_upload(self, status: int, name: str, rest: str) -> None:
        last = max(0, len(self.registry.uploads[rest]) - 1)
        where = f"/v2/{name}/blobs/uploads/{rest}?state=a%2Fb"
        self.reply(status, headers={"Location": where, "Range": f"0-{last}"})

    def reply(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        """Send an answer; `cut` ends the body after that many bytes and drops the connection."""
        sent = b"" if self.command == "HEAD" else body if cut is None else body[:cut]
        with self.registry.lock:
            self.registry.requests.append((self.command, urlsplit(self.path).path, status, len(sent)))
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(sent)
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


def know_nothing(monkeypatch: pytest.MonkeyPatch, docker: Path) -> None:
    """Nothing that this machine knows of registries counts, neither logins nor authorities nor proxies; `docker` is the
    folder of Docker's config.
    """
    for name in _KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(docker))
