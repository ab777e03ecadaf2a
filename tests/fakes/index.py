"""A package index on loopback with wheels made here, which can wait in the middle of one, as a slow network does.

index = Index()
index.add("arm", "1.0")
index.environment            # what leads pip to it, and to nothing else
index.locked("arm")          # its line in a requirements file with hashes
index.halt()                 # from now on wheels end half way until `go_on`
"""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HALTED_S = 200.0


def wheel(name: str, version: str, payload: bytes = b"") -> bytes:
    """A wheel with one module that has `payload` as data beside it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f'VERSION = "{version}"\n'.encode(),
        f"{name}.data.bin": payload,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return content.getvalue()


class Index:
    """The index; `on_wheel` is called when a wheel is asked for, before its first byte."""

    def __init__(self) -> None:
        self.wheels: dict[str, bytes] = {}
        self.asked = threading.Event()
        """Set when somebody has asked for a wheel."""
        self.on_wheel: Callable[[], object] = lambda: None
        self._going = threading.Event()
        self._going.set()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                file = self.path.rpartition("/")[2]
                if file in index.wheels:
                    index.send(self, index.wheels[file])
                else:
                    self._answer(index.links(self.path.rstrip("/").rpartition("/")[2]).encode())

            def _answer(self, page: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for pip; its other settings are to be taken out."""
        address = f"http://127.0.0.1:{self._server.server_port}/simple"
        return {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": address, "PIP_NO_CACHE_DIR": "1", "no_proxy": "*"}

    def add(self, name: str, version: str, payload: bytes = b"") -> None:
        self.wheels[f"{name}-{version}-py3-none-any.whl"] = wheel(name, version, payload)

    def locked(self, name: str) -> str:
        """The line of a requirements file that takes this package, and no other bytes."""
        file = next(each for each in self.wheels if each.startswith(f"{name}-"))
        digest = hashlib.sha256(self.wheels[file]).hexdigest()
        return f"{name}=={file.split('-')[1]} --hash=sha256:{digest}\n"

    def links(self, name: str) -> str:
        """The page of a package."""
        files = [file for file in self.wheels if file.startswith(f"{name}-")]
        return "".join(f'<a href="/files/{file}">{file}</a>\n' for file in files)

    def send(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        """Half of a wheel at once, and the rest when nobody has halted it."""
        self.on_wheel()
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        half = len(content) // 2
        request.wfile.write(content[:half])
        request.wfile.flush()
        self.asked.set()
        self._going.wait(HALTED_S)
        request.wfile.write(content[half:])

    def halt(self) -> None:
        self.asked.clear()
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def close(self) -> None:
        self.go_on()
        self._server.shutdown()
        self._server.server_close()
