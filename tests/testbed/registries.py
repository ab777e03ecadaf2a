"""Debian's docker-registry on this machine, and a link to it that is slow, breaks, or goes away."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIGURATION = """
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "127.0.0.1:%d"}
"""
_PIECE_BYTES = 65_536


@contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """A registry that keeps its blobs in `folder`; its URL. Raises FileNotFoundError where it is not installed."""
    if (program := shutil.which("docker-registry")) is None:
        raise FileNotFoundError("docker-registry is not installed; run requirements/bench.sh")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = folder / "registry.yml"
    path.write_text(CONFIGURATION % (folder / "stored", port))
    with subprocess.Popen(
        [program, "serve", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + 30.0
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"docker-registry does not listen on port {port}")
        time.sleep(0.02)


class WeakLink:
    """A port that leads to another one at `rate` bytes a second. `sent` counts what came back through it.

    `every`: each connection ends after so many bytes. `away_at`, `away_s`: after so many bytes in all it is gone once,
    for so many seconds: connections end, and new ones are refused.
    """

    def __init__(self, url: str, rate: float = 40e6, every: int = 0, away_at: int = 0, away_s: float = 0.0) -> None:
        self._target = int(re.sub(r".*:", "", url))
        self._rate = rate
        self._every = every
        self._away_at = away_at
        self._away_s = away_s
        self._gone_until_s = 0.0
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.sent = 0
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if time.monotonic() < self._gone_until_s:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                threading.Thread(target=_forward, args=(client, server), daemon=True).start()
                self._back(server, client)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        count, began_s = 0, time.monotonic()
        while piece := server.recv(_PIECE_BYTES):
            client.sendall(piece)
            count += len(piece)
            with self._lock:
                self.sent += len(piece)
                if self._away_at and self.sent >= self._away_at:
                    self._away_at = 0
                    self._gone_until_s = time.monotonic() + self._away_s
            if (self._every and count >= self._every) or time.monotonic() < self._gone_until_s:
                return
            time.sleep(max(0.0, began_s + count / self._rate - time.monotonic()))


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
