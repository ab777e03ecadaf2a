"""The signs of life of a serving agent: its lease, and systemd's watchdog.

In a thread of their own, because to load a large image takes the keeper minutes.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from model_registry.core.errors import LockedError
from model_registry.core.files import spare
from stack.agent.disk.lease import SERVING_S, Lease

log = logging.getLogger(__name__)
_EVERY_S = 1.0
LONGEST_KEEP_S = 3600.0


def notify(state: str) -> None:
    """Tell systemd, where it listens."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            sender.sendall(state.encode())


class Beat:
    """When the agent last did its work, and whether systemd may hear of it.

    `kept_s` is when the keeper last looked (monotonic s). When that is an hour ago, or a change outstays its claim,
    systemd is told nothing and starts the agent again. `taken_over` is why this agent has to end when another one
    serves.
    """

    def __init__(self, serving: Lease, claim: Lease, stopping: threading.Event, run: Path) -> None:
        self._serving = serving
        self._claim = claim
        self._stopping = stopping
        self._run = run
        self._spared: int | None = None
        """A lock on RUN, which the agent holds from its first beat on."""
        self.kept_s = time.monotonic()
        self.taken_over: LockedError | None = None

    def run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            with suppress(OSError):
                self._spared = spare(self._run) if self._spared is None else self._spared
            try:
                self._serving.renew(SERVING_S)
            except LockedError as error:
                self.taken_over = error
                self._stopping.set()
                return
            except OSError as error:
                log.warning("the lease of this agent was not renewed: %s", error)
            if time.monotonic() - self.kept_s < LONGEST_KEEP_S and not self._claim.overdue:
                notify("WATCHDOG=1")
