"""Both sockets, served by one thread that a hostile client cannot make slow or large. A socket has its folder's group: root and that group may use it.

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
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_registry.core.errors import HomeportError, LockedError, RefusedError, UntrustedError, UsageError
from model_registry.core.files import spare, umask
from model_registry.core.lines import reply_error, reply_ok
from stack.supervisor.requests import MAX_LINE_BYTES, Answer, Ticket, parse_request

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
PATIENCE_S = 5.0
_POLL_S = 1.0
_BACKLOG = 128
# Between two looks at its clients it sleeps for this long: whatever they send, most of the time is the tick thread's.
_PAUSE_S = 0.002
_SO_PEERGROUPS = 59


def open_socket(path: Path) -> socket.socket:
    """Listen at `path`: 0660 with its folder's group, in a folder 0750 that is ours.

    Raises LockedError when another supervisor listens there, UntrustedError when the folder is somebody else's, UsageError when it keeps its group to itself.
    """
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
    if (group := path.parent.stat().st_gid) != path.stat().st_gid:
        # A folder that is setgid has given it already; without, only root and the group's members can.
        try:
            os.chown(path, -1, group)
        except PermissionError as error:
            path.unlink()
            raise UsageError(f"{path.parent}: its group {group} cannot be given to the socket; chmod g+s it") from error
    listener.listen(_BACKLOG)
    return listener


@dataclass(eq=False)
class _Connection:
    """One client, with its process, user and group id. `deadline_s` (monotonic) moves with every whole line and every answer."""

    socket: socket.socket
    endpoint: str
    peer: tuple[int, int, int]
    admitted: bool
    deadline_s: float
    received: bytes = b""
    to_send: bytes = b""
    waiting: bool = False
    last: bool = False
    """Close when everything is sent."""

    @property
    def events(self) -> int:
        """Write while something is left to send; read only while nothing is under way."""
        if self.to_send:
            return selectors.EVENT_WRITE
        return 0 if self.waiting else selectors.EVENT_READ


def _peer_groups(client: socket.socket) -> tuple[int, ...]:
    """The other groups of whom is at the other end, as the kernel knows them; none when there are more than 256."""
    try:
        data = client.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(data) // 4}I", data)


def _check_admitted(connection: _Connection, group: int) -> None:
    if not connection.admitted:
        log.warning("Refused pid %d uid %d gid %d at %s", *connection.peer, connection.endpoint)
        raise RefusedError(
            f"uid {connection.peer[1]} may not use the {connection.endpoint} socket; be root or a member of group {group}"
        )


class SocketServer:
    """Listens at `paths` (endpoint → socket path) from the start; `serve`, in a thread of its own, hands each request to `submit`."""

    def __init__(
        self, paths: dict[str, Path], submit: Callable[[Ticket], None], patience_s: float = PATIENCE_S
    ) -> None:
        self._listeners = {endpoint: open_socket(path) for endpoint, path in paths.items()}
        self._groups = {endpoint: path.stat().st_gid for endpoint, path in paths.items()}
        self._submit = submit
        self._patience_s = patience_s
        self._paths = paths
        self._spared = [spare(folder) for folder in {path.parent.parent for path in paths.values()}]
        self._connections: set[_Connection] = set()
        self._answers: deque[tuple[_Connection, Answer]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, partial(self._wake_reader.recv, 4096))
        for endpoint, listener in self._listeners.items():
            self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener, endpoint))
        self.ending = False

    def stop(self) -> None:
        """Make `serve` return."""
        self.ending = True
        self._wake()

    def serve(self) -> None:
        """Serve until `stop`, then `close`."""
        while not self.ending:
            self._serve_once()
        self.close()

    def close(self) -> None:
        """Close every socket and remove the paths."""
        for path in self._paths.values():
            path.unlink(missing_ok=True)
        clients = [connection.socket for connection in self._connections]
        for each in (*clients, *self._listeners.values(), self._wake_reader, self._wake_writer):
            each.close()
        for folder in self._spared:
            if folder is not None:
                os.close(folder)
        self._selector.close()

    def _serve_once(self) -> None:
        for key, _ in self._selector.select(_POLL_S):
            key.data()
        time.sleep(_PAUSE_S)
        while self._answers:
            connection, answer = self._answers.popleft()
            if connection in self._connections:
                self._reply(connection, answer)
        now = time.monotonic()
        for connection in [each for each in self._connections if now > each.deadline_s]:
            log.info("Dropped a silent client, pid %d uid %d", *connection.peer[:2])
            self._close(connection)

    def _accept(self, listener: socket.socket, endpoint: str) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if sum(each.endpoint == endpoint for each in self._connections) >= MAX_CONNECTIONS:
            client.close()
            return
        client.setblocking(False)
        pid, uid, gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        group = self._groups[endpoint]
        admitted = uid in (0, os.getuid()) or group == gid or group in _peer_groups(client)
        connection = _Connection(client, endpoint, (pid, uid, gid), admitted, time.monotonic() + self._patience_s)
        self._connections.add(connection)
        self._watch(connection)

    def _attend(self, connection: _Connection) -> None:
        """Send or receive, whichever is due, and wait for what comes next."""
        try:
            with suppress(BlockingIOError):
                act = self._send if connection.to_send else self._receive
                act(connection)
        except OSError:
            self._close(connection)
        if connection in self._connections:
            self._watch(connection)

    def _watch(self, connection: _Connection) -> None:
        with suppress(KeyError):
            self._selector.unregister(connection.socket)
        if connection.events:
            self._selector.register(connection.socket, connection.events, partial(self._attend, connection))

    def _receive(self, connection: _Connection) -> None:
        # Never reads more than one longest line beyond what it holds, and nothing while a request is under way.
        piece = connection.socket.recv(MAX_LINE_BYTES + 1 - len(connection.received))
        connection.received += piece
        if piece:
            self._next_line(connection)
        else:
            self._close(connection)

    def _next_line(self, connection: _Connection) -> None:
        line, newline, rest = connection.received.partition(b"\n")
        if not newline and len(line) <= MAX_LINE_BYTES:
            return
        connection.received, connection.waiting = rest, True
        connection.deadline_s = time.monotonic() + self._patience_s
        try:
            _check_admitted(connection, self._groups[connection.endpoint])
            request = parse_request(line, connection.endpoint)
        except (UsageError, RefusedError) as error:
            connection.last = True
            self._reply(connection, error)
            return
        if request.verb != "status":
            log.info("%s from pid %d uid %d gid %d", request, *connection.peer)
        self._submit(Ticket(request, partial(self._answer, connection)))

    def _answer(self, connection: _Connection, answer: Answer) -> None:
        """Called by the tick thread: queues, and never blocks."""
        self._answers.append((connection, answer))
        self._wake()

    def _reply(self, connection: _Connection, answer: Answer) -> None:
        connection.to_send = reply_error(answer) if isinstance(answer, HomeportError) else reply_ok(answer)
        connection.waiting = False
        connection.deadline_s = time.monotonic() + self._patience_s
        self._attend(connection)

    def _send(self, connection: _Connection) -> None:
        connection.to_send = connection.to_send[connection.socket.send(connection.to_send) :]
        if not connection.to_send and connection.last:
            self._close(connection)
        elif not connection.to_send:
            self._next_line(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        with suppress(KeyError):
            self._selector.unregister(connection.socket)
        connection.socket.close()

    def _wake(self) -> None:
        # Full of wake-ups, it is awake already; closed, there is nobody left to wake.
        with suppress(OSError):
            self._wake_writer.send(b"x")
