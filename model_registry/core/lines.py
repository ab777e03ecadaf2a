"""Call a Homeport socket: one JSON line out, events and one reply back. docs/interfaces.md has the protocol."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError, from_exit_code

MAX_REPLY_BYTES = 1 << 20
PROTOCOL = 1


_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59


class LateError(HomeportError):
    """A request was taken, and not answered in time."""


class Peer(NamedTuple):
    """Who is at the other end of a socket, by the kernel: nothing of it can be claimed."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]
    """With the supplementary ones."""

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Raises OSError when the connection is gone."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        return cls(pid, uid, gid, frozenset((gid, *_supplementary(connection))))

    def may_use(self, group: int | None) -> bool:
        """Whether it is root, this program's own user, or a member of a group."""
        return self.uid in (0, os.getuid()) or group in self.groups


def _supplementary(connection: socket.socket) -> tuple[int, ...]:
    """The peer's other groups, as the kernel knows them; none when there are more than 256."""
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(data) // 4}I", data)


def request(verb: str, **fields: object) -> bytes:
    """One request line."""
    return dump({"v": PROTOCOL, "verb": verb, **fields}) + b"\n"


def reply_ok(result: dict[str, object]) -> bytes:
    return dump({"v": PROTOCOL, "ok": True, "result": result}) + b"\n"


def error_document(error: HomeportError, result: object = None) -> dict[str, object]:
    """The reply that tells an error, with how far its verb came where that is known."""
    fields = {"code": error.exit_code, "message": str(error)}
    return {"v": PROTOCOL, "ok": False, "error": fields, **({} if result is None else {"result": result})}


def reply_error(error: HomeportError, result: object = None) -> bytes:
    return dump(error_document(error, result)) + b"\n"


def call(
    path: Path, line: bytes, timeout_s: float, on_event: Callable[[str, str], None] | None = None
) -> dict[str, object]:
    """Send one request and return its result.

    Raises HomeportError with the code of the reply, or when nobody answers within `timeout_s` seconds: LateError where
    somebody listens.
    """
    deadline = time.monotonic() + timeout_s
    kind = HomeportError
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            _connect(connection, path, min(timeout_s, 5.0))
            connection.sendall(line)
            kind = LateError
            return _read_reply(connection, deadline, on_event)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise (kind if isinstance(error, TimeoutError) else HomeportError)(
            f"{path}: no usable answer ({error}); is the service that owns this socket running?"
        ) from error


def _connect(connection: socket.socket, path: Path, timeout_s: float) -> None:
    """Connect, and wait up to `timeout_s` seconds where others wait for the same listener.

    With one of Python's timeouts a connect fails at once while the listener's queue is full; with the kernel's it
    stands in line.
    """
    seconds, rest = divmod(max(timeout_s, 0.001), 1.0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6)))
    connection.connect(str(path))
    connection.settimeout(timeout_s)


def _read_reply(
    connection: socket.socket, deadline: float, on_event: Callable[[str, str], None] | None
) -> dict[str, object]:
    buffer = b""
    while True:
        while b"\n" not in buffer:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(65_536)
            if not piece:
                raise OSError("the connection was closed before the reply")
            buffer += piece
            if len(buffer) > MAX_REPLY_BYTES:
                raise ValueError("the reply is too long")
        line, buffer = buffer.split(b"\n", 1)
        message = json.loads(line)
        if "event" in message:
            if on_event is not None:
                on_event(message["event"]["stage"], message["event"]["text"])
        elif message.get("ok") is True:
            result: dict[str, object] = message["result"]
            return result
        else:
            error = from_exit_code(int(message["error"]["code"]), str(message["error"]["message"]))
            error.result = message.get("result")  # type: ignore[attr-defined]
            raise error
