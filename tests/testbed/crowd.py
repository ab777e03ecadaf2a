"""Clients that crowd a socket, each a process of its own that goes on until it is ended: `python crowd.py KIND SOCKET`.

`silent` keeps 50 connections that never send, and opens each anew that is closed; `half` the same with half a request
in each; `poll` asks for the status without a pause on one connection; `reconnect` does so on a new connection each
time; `knock` connects and leaves without a pause.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

STATUS = b'{"v":1,"verb":"status"}\n'
CONNECTIONS = 50
ANSWER_S = 1.0


def connected(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    client.settimeout(ANSWER_S)
    return client


def closed(client: socket.socket) -> bool:
    """Whether the other end has closed it."""
    try:
        return not client.recv(65_536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def crowd(path: str, words: bytes) -> None:
    """Keep many connections, each with `words` said and nothing more."""
    clients: list[socket.socket] = []
    while True:
        for client in [each for each in clients if closed(each)]:
            clients.remove(client)
            client.close()
        while len(clients) < CONNECTIONS:
            clients.append(connected(path))
            clients[-1].send(words)


def poll(path: str) -> None:
    client = connected(path)
    while True:
        client.sendall(STATUS)
        if not client.recv(65_536):
            return


def reconnect(path: str) -> None:
    with connected(path) as client:
        client.sendall(STATUS)
        client.recv(65_536)


def knock(path: str) -> None:
    connected(path).close()


KINDS: dict[str, Callable[[str], None]] = {
    "silent": lambda path: crowd(path, b""),
    "half": lambda path: crowd(path, STATUS[:10]),
    "poll": poll,
    "reconnect": reconnect,
    "knock": knock,
}


def main(kind: str, path: str) -> None:
    parent = os.getppid()
    print("here", flush=True)
    while os.getppid() == parent:
        try:
            KINDS[kind](path)
        except OSError:  # sent away; it comes again
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
