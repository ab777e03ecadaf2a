"""Both sockets, served by one thread that a hostile client cannot make slow or large.

A socket has its folder's group: root and that group may use it.

A connection has at most one request under way and at most one line in memory. Nothing here touches the supervisor's
state: a request becomes a ticket for the tick thread, and the answer comes back through a queue. When all places are
taken, a new client takes that of one that only polls (`places`).
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from model_registry.core.errors import HomeportError, LockedError, RefusedError, UntrustedError, UsageError
from model_registry.core.files import spare, umask
from model_registry.core.lines import MAX_REPLY_BYTES, Peer, reply_error, reply_ok
from stack.supervisor.places import MAX_CONNECTIONS, Connection, least_needed
from stack.supervisor.priority import Share
from stack.supervisor.requests import MAX_LINE_BYTES, STATUS, Answer, Ticket, parse_request

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
_POLL_S = 1.0
_BACKLOG = 128
# New clients of one socket between two rests: those who connect and leave again without a pause must not keep others
# waiting at the door.
_MOST_NEW = 8
# Between two looks at its clients it sleeps for this long at least: whatever they send, most of the time is the tick
# thread's.
_PAUSE_S = 0.002


def open_socket(path: Path) -> socket.socket:
    """Listen at `path`: 0660 with its folder's group, in a folder 0750 that is ours.

    Raises LockedError when another supervisor listens there, UntrustedError when the folder is somebody else's,
    UsageError when it keeps its group to itself.
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


def _written(answer: Answer) -> bytes:
    """The line of a reply.

    An answer that JSON cannot say, or that no client would read, becomes an error that says so.
    """
    if isinstance(answer, HomeportError):
        return reply_error(answer)
    try:
        line = reply_ok(answer)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return reply_error(HomeportError(f"the reply cannot be written as JSON ({error}); ask again, and report this"))
    if len(line) > MAX_REPLY_BYTES:
        return reply_error(
            HomeportError(f"the reply has {len(line)} bytes, at most {MAX_REPLY_BYTES} are sent; report this")
        )
    return line


def _check_admitted(connection: Connection, group: int) -> None:
    if not connection.admitted:
        log.warning("Refused pid %d uid %d gid %d at %s", *connection.peer[:3], connection.endpoint)
        raise RefusedError(
            f"uid {connection.peer.uid} may not use the {connection.endpoint} socket; be root or a member of group "
            f"{group}"
        )


class SocketServer:
    """Listens at `paths` (endpoint → socket path) from the start.

    `serve`, in a thread of its own, hands each request to `submit`.
    """

    def __init__(
        self, paths: dict[str, Path], submit: Callable[[Ticket], None], patience_s: float = PATIENCE_S
    ) -> None:
        self._listeners = {endpoint: open_socket(path) for endpoint, path in paths.items()}
        self._groups = {endpoint: path.stat().st_gid for endpoint, path in paths.items()}
        self._submit = submit
        self._patience_s = patience_s
        self._paths = paths
        self._connections: set[Connection] = set()
        self._answers: deque[tuple[Connection, Answer]] = deque()
        self._written: tuple[Answer, bytes] = ({}, reply_ok({}))
        self._spared = [spare(folder) for folder in {path.parent.parent for path in paths.values()}]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, partial(self._wake_reader.recv, 4096))
        for endpoint, listener in self._listeners.items():
            self._selector.register(listener, selectors.EVENT_READ, partial(self._welcome, listener, endpoint))
        self.ending = False

    @property
    def clients(self) -> tuple[Connection, ...]:
        """Who is connected, to either socket."""
        return tuple(self._connections)

    def stop(self) -> None:
        """Make `serve` return."""
        self.ending = True
        self._wake()

    def serve(self) -> None:
        """Serve until `stop`, then `close`."""
        share = Share(shortest_s=_PAUSE_S)
        while not self.ending:
            self._serve_once(share)
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

    def _serve_once(self, share: Share) -> None:
        for key, _ in self._selector.select(_POLL_S):
            key.data()
        share.rest()  # before the answers: the tick that gave them ends first
        while self._answers:
            connection, answer = self._answers.popleft()
            if connection in self._connections:
                self._reply(connection, answer)
        now = time.monotonic()
        for connection in [each for each in self._connections if now > each.deadline_s]:
            log.info("Dropped a silent client, pid %d uid %d", *connection.peer[:2])
            self._close(connection)

    def _welcome(self, listener: socket.socket, endpoint: str) -> None:
        """Let some of those in who wait at the door. Nobody comes in while nobody may be sent away."""
        for _ in range(_MOST_NEW):
            here = [each for each in self._connections if each.endpoint == endpoint]
            leaving = least_needed(here, time.monotonic()) if len(here) >= MAX_CONNECTIONS else None
            if len(here) >= MAX_CONNECTIONS and leaving is None:
                return
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if leaving is not None:
                log.info("Gave the place of pid %d uid %d at %s to another", *leaving.peer[:2], endpoint)
                self._close(leaving)
            self._take_in(client, endpoint)

    def _take_in(self, client: socket.socket, endpoint: str) -> None:
        client.setblocking(False)
        peer = Peer.of(client)
        admitted = peer.may_use(self._groups[endpoint])
        now_s = time.monotonic()
        connection = Connection(client, endpoint, peer, admitted, now_s, now_s + self._patience_s)
        self._connections.add(connection)
        self._attend(connection)  # most have sent their request already

    def _attend(self, connection: Connection) -> None:
        """Send or receive, whichever is due, and wait for what comes next."""
        if connection not in self._connections:
            return  # sent away by who came in just before
        try:
            with suppress(BlockingIOError):
                act = self._send if connection.to_send else self._receive
                act(connection)
        except OSError:
            self._close(connection)
        if connection in self._connections:
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        with suppress(KeyError):
            self._selector.unregister(connection.socket)
        if connection.events:
            self._selector.register(connection.socket, connection.events, partial(self._attend, connection))

    def _receive(self, connection: Connection) -> None:
        # Never reads more than one longest line beyond what it holds, and nothing while a request is under way.
        piece = connection.socket.recv(MAX_LINE_BYTES + 1 - len(connection.received))
        connection.received += piece
        if piece:
            self._next_line(connection)
        else:
            self._close(connection)

    def _next_line(self, connection: Connection) -> None:
        line, newline, rest = connection.received.partition(b"\n")
        if not newline and len(line) <= MAX_LINE_BYTES:
            return
        connection.received = rest
        connection.deadline_s = time.monotonic() + self._patience_s
        try:
            _check_admitted(connection, self._groups[connection.endpoint])
            request = parse_request(line, connection.endpoint)
        except (UsageError, RefusedError) as error:
            connection.last = True
            self._reply(connection, error)
            return
        connection.request = request
        connection.polls = request.verb == STATUS
        if not connection.polls:
            log.info("%s from pid %d uid %d gid %d: %s", request.verb, *connection.peer[:3], request)
        self._submit(Ticket(request, partial(self._answer, connection)))

    def _answer(self, connection: Connection, answer: Answer) -> None:
        """Called by the tick thread: queues, and never blocks."""
        self._answers.append((connection, answer))
        if (
            len(self._answers) == 1
        ):  # else it is awake, or has been woken; each time costs the tick the interpreter's lock
            self._wake()

    def _reply(self, connection: Connection, answer: Answer) -> None:
        if self._written[0] is not answer:  # all who ask for the status in one tick get the same
            self._written = answer, _written(answer)
        connection.to_send = self._written[1]
        connection.request = None
        connection.served_s = time.monotonic()
        connection.deadline_s = connection.served_s + self._patience_s
        self._attend(connection)

    def _send(self, connection: Connection) -> None:
        connection.to_send = connection.to_send[connection.socket.send(connection.to_send) :]
        if not connection.to_send and connection.last:
            self._close(connection)
        elif not connection.to_send:
            self._next_line(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with suppress(KeyError):
            self._selector.unregister(connection.socket)
        connection.socket.close()

    def _wake(self) -> None:
        # Full of wake-ups, it is awake already; closed, there is nobody left to wake.
        with suppress(OSError):
            self._wake_writer.send(b"x")
