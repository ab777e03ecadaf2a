"""Whatever a registry answers, commands print and log nothing of it that one does not see."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from model_registry.cli import app
from model_registry.cli.entry import run
from tests.fakes.unseen import CHARACTERS, HALVES, SEEN, groups, unseen

DIGEST = f"sha256:{'1' * 64}"
BAD = CHARACTERS + HALVES + SEEN
# In a header or a status line: one byte each, and no end of a line.
BYTES = "".join(each for each in CHARACTERS if ord(each) < 256 and each not in "\r\n") + "\x1b[31m"
COMMANDS = (
    ["model", "list"],
    ["model", "list", "--json"],
    ["model", "verify", "models/pilot:1.0.0"],
    ["model", "pull", f"models/pilot@{DIGEST}", "--to"],
    ["release", "list"],
    ["release", "show", "releases/pilot:1.0.0"],
)
Answer = Callable[[str], bytes]


def http(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An answer as it goes over the wire."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def documents(text: str) -> Answer:
    """Lists that are right in form, and documents that are not."""

    def answer(path: str) -> bytes:
        lists: dict[str, Any] = {"repositories": ["models/pilot", f"releases/{text}", text], "tags": ["1.0.0", text]}
        return http("200 OK", json.dumps({**lists, text: text, "mediaType": text, "schemaVersion": 2}).encode())

    return answer


def lists_then(body: bytes) -> Answer:
    def answer(path: str) -> bytes:
        listing = json.dumps({"repositories": ["models/pilot", "releases/pilot"], "tags": ["1.0.0"]}).encode()
        return http("200 OK", listing if "_catalog" in path or "/tags/" in path else body)

    return answer


ANSWERS: dict[str, Answer] = {
    "status": lambda path: http(f"418 {BYTES}"),
    "bytes": lambda path: http("200 OK", BAD.encode(errors="surrogatepass")),
    "no HTTP": lambda path: f"{BYTES}\r\n\r\n".encode("latin-1"),
    "realm": lambda path: http("401 No", WWW_Authenticate=f'Bearer realm="{BYTES}://{BYTES}",service="{BYTES}"'),
    "place": lambda path: http("302 There", Location=f"ftp://{BYTES}/{BYTES}"),
    "next page": lambda path: http("200 OK", b'{"repositories": []}', Link=f'<ftp://{BYTES}>; rel="next"'),
    "manifest": lists_then(json.dumps({"schemaVersion": 2, "artifactType": BAD, "config": {BAD: BAD}}).encode()),
    "halves": lists_then(b'{"artifactType": "\\ud800"}'),
    **{f"documents {number}": documents(text) for number, text in enumerate(groups(40))},
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Answer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of this."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it belongs on the terminal of a test."""

    def do_GET(self) -> None:
        self.wfile.write(self.server.answer(self.path))
        self.close_connection = True

    do_HEAD = do_GET


@pytest.fixture(scope="module")
def registry() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_command_shows_nothing_unseen_of_what_a_registry_answers(
    name: str,
    registry: _Server,
    tmp_path: object,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("HOMEPORT_REGISTRY_AUTH", "HOMEPORT_CA_FILE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)
    registry.answer = ANSWERS[name]
    source = f"http://127.0.0.1:{registry.server_address[1]}"
    errors = 0
    for words in COMMANDS:
        place = [str(tmp_path)] if words[-1] == "--to" else []
        for debug in ([], ["--debug"]) if name == "manifest" else ([],):
            code = run(app, [*debug, *words, *place, "--source", source])
            out, err = capfd.readouterr()
            assert unseen(out + err) == [], words
            told = [line for line in err.splitlines() if line.startswith("error: ")]
            assert len(told) == (code != 0) and (debug or err.count("\n") <= 2), err
            errors += len(told)
            if "--json" in words and code == 0:
                assert json.loads(out)
    assert errors
    assert [each for each in map(str, caplog.messages) if unseen(each)] == []
