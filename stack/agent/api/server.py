"""agent.sock: newline-delimited JSON, one thread a connection, peers known by their uid.

Status always answers; changes take the claim.
"""

from __future__ import annotations

import grp
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model_registry.core.documents import dump, parse
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.core.files import umask
from model_registry.core.lines import PROTOCOL, Peer, reply_error, reply_ok
from model_registry.core.version import version
from stack.agent.api.verbs import answer
from stack.agent.change.recovery import close_open
from stack.agent.disk.lease import own_folder
from stack.agent.host import Host
from stack.agent.reports import FailedError
from stack.agent.upkeep.archivist import Archivist
from stack.agent.upkeep.beat import Beat, notify
from stack.agent.upkeep.keeper import Keeper

log = logging.getLogger(__name__)
MAX_LINE_BYTES = 65_536
_MAX_CONNECTIONS = 16
_IDLE_S = 30.0
_SAY_S = 2.0
_GROUP = "homeport-agent"


def recover(host: Host) -> str | None:
    """End what a crash has left open, without Docker, network or supervisor; returns a sentence."""
    try:
        return close_open(host)
    finally:
        host.serving.drop()


def serve(host: Host) -> None:
    """Recover, then answer until SIGTERM or SIGINT. Raises LockedError when another agent has taken over."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: host.stopping.set())
    Archivist(host).start()
    keeper = Keeper(host)
    listener = _listen(host.layout.agent_socket)
    log.info("homeport-agent %s serves %s on %s", version(), host.layout.root, host.layout.agent_socket)
    threading.Thread(target=_accept, args=(host, listener), name="accept", daemon=True).start()
    beat = Beat(host.serving, host.work.claim, host.stopping, host.layout.run)
    threading.Thread(target=beat.run, name="beat", daemon=True).start()
    notify("READY=1")
    while not host.stopping.is_set():
        keeper.keep()
        beat.kept_s = time.monotonic()
        host.stopping.wait(1.0)
    listener.close()
    host.layout.agent_socket.unlink(missing_ok=True)
    host.serving.drop()
    if beat.taken_over is not None:
        raise beat.taken_over


def _listen(path: Path) -> socket.socket:
    """Open the socket. Raises RefusedError when somebody else made its folder first."""
    own_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with umask(0o117):
        listener.bind(str(path))
    if (group := _group_id()) is not None:
        with suppress(PermissionError):
            os.chown(path, -1, group)
    listener.listen(_MAX_CONNECTIONS)
    return listener


def _accept(host: Host, listener: socket.socket) -> None:
    free = threading.BoundedSemaphore(_MAX_CONNECTIONS)
    while not host.stopping.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if not free.acquire(blocking=False):
            connection.close()
            continue
        threading.Thread(target=_converse, args=(host, connection, free), name="connection", daemon=True).start()


def _converse(host: Host, connection: socket.socket, free: threading.BoundedSemaphore) -> None:
    try:
        with connection:
            connection.settimeout(_IDLE_S)
            owner = owner_of(connection)
            with connection.makefile("rb") as stream:
                while line := stream.readline(MAX_LINE_BYTES + 1):
                    connection.sendall(_reply(host, line, owner, connection))
    except HomeportError as error:
        with suppress(OSError):
            connection.sendall(reply_error(error))
    except OSError as error:
        log.info("connection ended: %s", error)
    finally:
        free.release()


def owner_of(connection: socket.socket) -> str:
    """Who called. Raises RefusedError unless it is root, our own user or a member of homeport-agent."""
    peer = Peer.of(connection)
    if not peer.may_use(_group_id()):
        raise RefusedError(f"uid {peer.uid} may not change this robot; join the group {_GROUP}")
    return f"uid {peer.uid}, pid {peer.pid}"


def _group_id() -> int | None:
    """None where the group does not exist."""
    try:
        return grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return None


def _reply(host: Host, line: bytes, owner: str, connection: socket.socket) -> bytes:
    """One reply line; the request's events go out before it. A client that left does not stop its verb."""
    connection.settimeout(_SAY_S)
    try:
        return reply_ok(answer(host, _parse(line), owner, _events(connection)))
    except FailedError as error:
        return reply_error(error, error.result.document())
    except HomeportError as error:
        return reply_error(error)
    except Exception as error:  # the root of this thread: a fault of ours is reported, not swallowed
        log.exception("request failed")
        return reply_error(HomeportError(f"internal error: {type(error).__name__}: {error}; read the agent's log"))
    finally:
        connection.settimeout(_IDLE_S)


def _parse(line: bytes) -> object:
    if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
        raise UsageError(f"request: longer than {MAX_LINE_BYTES} bytes, or cut off")
    return parse(line, "request")


def _events(connection: socket.socket) -> Callable[[str, str], None]:
    def send(stage: str, text: str) -> None:
        """A client that does not read holds a change up once, and hears no more of it."""
        log.info("%s: %s", stage, text)
        try:
            connection.sendall(dump({"v": PROTOCOL, "event": {"stage": stage, "text": text}}) + b"\n")
        except OSError:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    return send
