"""How a host is reached: certificates of both sides, and the proxy between."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_registry.core.errors import HomeportError, UntrustedError, UsageError
from model_registry.sources import open_source
from tests.fakes.registry import FakeRegistry, know_nothing
from tests.integration.test_registry_http import certificate


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "docker"
    folder.mkdir()
    know_nothing(monkeypatch, folder)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FakeRegistry]:
    """One that takes only those who show its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = certificate(tmp_path)
    context.load_cert_chain(path)
    context.load_verify_locations(path)
    context.verify_mode = ssl.CERT_REQUIRED
    with FakeRegistry(context) as made:
        yield made


def test_certificates_lie_where_docker_has_them(registry: FakeRegistry, docker: Path, tmp_path: Path) -> None:
    place = docker / "certs.d" / registry.url.removeprefix("https://")
    place.mkdir(parents=True)
    with pytest.raises(UntrustedError, match="not trusted"):
        open_source(registry.url).repositories()
    shutil.copy(tmp_path / "tls.pem", place / "ca.crt")
    with pytest.raises(UntrustedError, match=r"refuses our certificate.*client\.cert"):
        open_source(registry.url).repositories()
    for name in ("client.cert", "client.key"):
        shutil.copy(tmp_path / "tls.pem", place / name)
    assert open_source(registry.url).repositories() == ()


def test_a_certificate_that_is_none_is_named(registry: FakeRegistry, docker: Path) -> None:
    place = docker / "certs.d" / registry.url.removeprefix("https://")
    place.mkdir(parents=True)
    (place / "ca.crt").write_text("nonsense")
    with pytest.raises(UsageError, match=r"ca\.crt: cannot be used"):
        open_source(registry.url).repositories()


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """One that refuses to connect to anybody, and says what it was asked."""
    asked: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                asked.append(client.recv(4000).decode())
                client.sendall(b"HTTP/1.1 502 no\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5.0)


@pytest.mark.parametrize("given", ["environment", "docker"])
def test_a_proxy_is_asked_with_its_own_login(given: str, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (address, asked):
        url = f"http://me:p%40ss@{address}"
        if given == "environment":
            monkeypatch.setenv("HTTPS_PROXY", url)
        else:
            (docker / "config.json").write_text(json.dumps({"proxies": {"default": {"httpsProxy": url}}}))
        with pytest.raises(HomeportError) as caught:
            open_source("https://registry.invalid").repositories()
    assert asked[0].startswith("CONNECT registry.invalid:443")
    assert "proxy-authorization: Basic bWU6cEBzcw==" in asked[0].replace("Proxy-A", "proxy-a")
    assert "p%40ss" not in str(caught.value) and "p@ss" not in str(caught.value)


@pytest.mark.parametrize("given", ["environment", "docker"])
def test_who_is_named_is_reached_without_it(given: str, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (address, asked):
        if given == "environment":
            monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
            monkeypatch.setenv("NO_PROXY", "other.example,.invalid")
        else:
            named = {"httpsProxy": f"http://{address}", "noProxy": "other.example,.invalid"}
            (docker / "config.json").write_text(json.dumps({"proxies": {"default": named}}))
        with pytest.raises(HomeportError):
            open_source("https://registry.invalid").repositories()
    assert asked == []
