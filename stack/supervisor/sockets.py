"""Both sockets, served by one thread that a hostile client cannot make slow or large.

A connection has at most one request under way and at most one line in memory. Nothing here touches the supervisor's state: a request becomes a ticket
for the tick thread, and the answer comes back through a queue.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_registry.core.errors import HomeportError, LockedError, UntrustedError, UsageError
from model_registry.core.files import umask
from model_registry.core.lines import reply_error, reply_ok
from stack.supervisor.requests import MAX_LINE_BYTES, Answer, Ticket, parse_request

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
PATIENCE_S = 5.0
_POLL_S = 1.0
_BACKLOG = 128


def open_socket(path: Path) -> socket.socket:
    """Listen at `path`: 0660, in a folder 0750 that is ours. Raises LockedError when another supervisor listens there, UntrustedError when the folder is somebody else's."""
    path.parent.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o750, exist_ok=True)
    for folder in (path.parent.parent, path.parent):
        if (owner := folder.stat().st_uid) not in (0, os.getuid()):
            raise UntrustedError(f"{folder}: belongs to uid {owner}; remove it and start the supervisor again")
    if path.exists():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise LockedError(f"{path}: another supervisor listens here; stop it first")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with umask(0o117):
        listener.bind(str(path))
    group = path.parent.stat().st_gid
    if group != os.getgid() and os.getuid() == 0:
        os.chown(path, -1, group)
    listener.listen(_BACKLOG)
    return listener


def peer(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group id of the other end."""
    size = struct.calcsize("3i")
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid, gid


@dataclass(eq=False)
class _Connection:
    """One client. `deadline_s` (monotonic) moves with every whole line and every answer."""

    socket: socket.socket
    endpoint: str
    peer: tuple[int, int, int]
    deadline_s: float
    received: bytes = b""
    to_send: bytes = b""
    waiting: bool = False
    last: bool = False
    """Close when everything is sent."""


class SocketServer:
    """Listens at `paths` (endpoint → socket path) from the start; `serve`, in a thread of its own, hands each request to `submit`."""

    def __init__(
        self, paths: dict[str, Path], submit: Callable[[Ticket], None], patience_s: float = PATIENCE_S
    ) -> None:
        listeners = {endpoint: open_socket(path) for endpoint, path in paths.items()}
        self._listeners = tuple(listeners.values())
        self._submit = submit
        self._patience_s = patience_s
        self._paths = paths
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._answers: deque[tuple[_Connection, Answer]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._ending = threading.Event()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._drain_wake)
        for endpoint, listener in listeners.items():
            self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener, endpoint))

    def stop(self) -> None:
        """Make `serve` return."""
        self._ending.set()
        self._wake()

    @property
    def ending(self) -> bool:
        return self._ending.is_set()

    def serve(self) -> None:
        """Serve until `stop`."""
        while not self.ending:
            self._serve_once()
        self.close()

    def close(self) -> None:
        """Close every socket and remove the paths."""
        for connection in list(self._connections):
            self._close(connection)
        for path in self._paths.values():
            path.unlink(missing_ok=True)
        for own in (*self._listeners, self._wake_reader, self._wake_writer):
            own.close()
        self._selector.close()

    def _serve_once(self) -> None:
        for key, events in self._selector.select(_POLL_S):
            if isinstance(key.data, _Connection):
                self._attend(key.data, events)
            else:
                key.data()
        while self._answers:
            self._send_answer(*self._answers.popleft())
        now = time.monotonic()
        for connection in [each for each in self._connections if now > each.deadline_s]:
            log.info("Dropped a silent client, pid %d uid %d", *connection.peer[:2])
            self._close(connection)

    def _accept(self, listener: socket.socket, endpoint: str) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setblocking(False)
        if sum(each.endpoint == endpoint for each in self._connections) >= MAX_CONNECTIONS:
            client.close()
            return
        connection = _Connection(client, endpoint, peer(client), time.monotonic() + self._patience_s)
        self._connections.add(connection)
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _attend(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._receive(connection)
            if events & selectors.EVENT_WRITE:
                self._send(connection)
        except OSError:
            self._close(connection)

    def _receive(self, connection: _Connection) -> None:
        # Never reads more than one longest line beyond what it holds, and nothing while a request is under way.
        piece = connection.socket.recv(MAX_LINE_BYTES + 1 - len(connection.received))
        if not piece:
            self._close(connection)
            return
        connection.received += piece
        self._next_line(connection)

    def _next_line(self, connection: _Connection) -> None:
        line, newline, rest = connection.received.partition(b"\n")
        if not newline:
            if len(line) > MAX_LINE_BYTES:
                connection.last = True
                self._reply(connection, UsageError(f"request: longer than {MAX_LINE_BYTES} bytes; send one short line"))
            return
        connection.received = rest
        connection.waiting = True
        connection.deadline_s = time.monotonic() + self._patience_s
        try:
            request = parse_request(line, connection.endpoint)
        except UsageError as error:
            connection.last = True
            self._reply(connection, error)
            return
        if getattr(request, "verb", "") != "status":
            log.info("%s from pid %d uid %d gid %d", request, *connection.peer)
        self._watch(connection)
        self._submit(Ticket(request, partial(self._answer, connection)))

    def _answer(self, connection: _Connection, answer: Answer) -> None:
        """Called by the tick thread: queues, and never blocks."""
        self._answers.append((connection, answer))
        self._wake()

    def _send_answer(self, connection: _Connection, answer: Answer) -> None:
        if connection not in self._connections:
            return
        try:
            self._reply(connection, answer)
        except OSError:
            self._close(connection)

    def _reply(self, connection: _Connection, answer: Answer) -> None:
        connection.to_send += reply_error(answer) if isinstance(answer, HomeportError) else reply_ok(answer)
        connection.waiting = False
        connection.deadline_s = time.monotonic() + self._patience_s
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        if connection.to_send:
            with suppress(BlockingIOError):
                connection.to_send = connection.to_send[connection.socket.send(connection.to_send) :]
        if not connection.to_send and connection.last:
            self._close(connection)
            return
        self._watch(connection)
        if not connection.to_send and not connection.waiting and b"\n" in connection.received:
            self._next_line(connection)

    def _watch(self, connection: _Connection) -> None:
        """Read only while nothing is under way; write only while something is left to send."""
        events = selectors.EVENT_WRITE if connection.to_send else 0
        if not connection.waiting and not connection.to_send:
            events = selectors.EVENT_READ
        registered = connection.socket in self._selector.get_map()
        if events and registered:
            self._selector.modify(connection.socket, events, connection)
        elif events:
            self._selector.register(connection.socket, events, connection)
        elif registered:
            self._selector.unregister(connection.socket)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if connection.socket.fileno() >= 0 and connection.socket in self._selector.get_map():
            self._selector.unregister(connection.socket)
        connection.socket.close()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"x")
        except BlockingIOError:
            return  # It is awake already: its buffer is full of wake-ups.

    def _drain_wake(self) -> None:
        self._wake_reader.recv(4096)
