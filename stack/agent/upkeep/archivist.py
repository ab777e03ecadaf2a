"""Copies of what the robot would go back to, made while nothing else is done.

Nobody waits for them, and a copy that was interrupted is begun again.
"""

from __future__ import annotations

import logging
import os
import threading
import time

from model_registry.core.errors import HomeportError
from stack.agent.host import Host
from stack.agent.machine.room import refill

log = logging.getLogger(__name__)
_LOOK_S = 1.0
_AFTER_ERROR_S = 60.0
_NICE = 10


class _Ended(HomeportError):
    """The agent stops."""


class Archivist:
    """A thread that keeps a copy of the previous and of the fallback release's image, and the journal's last room."""

    def __init__(self, host: Host) -> None:
        self._host, self._worked_s = host, time.monotonic()

    def start(self) -> None:
        threading.Thread(target=self._run, name="archivist", daemon=True).start()

    def _run(self) -> None:
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))
        pause_s = _LOOK_S
        while not self._host.stopping.wait(pause_s):
            try:
                self.look()
                pause_s = _LOOK_S
            except _Ended:
                return
            except (HomeportError, OSError) as error:
                log.warning("no copy of an image: %s", error)
                pause_s = _AFTER_ERROR_S
            except Exception:  # the root of this thread: without it nobody would make another copy
                log.exception("no copy of an image")
                pause_s = _AFTER_ERROR_S

    def look(self) -> None:
        """One look: quick when there is nothing to copy."""
        host = self._host
        refill(host.layout.reserve)
        if not host.work.idle:
            return
        for digest in (host.store.fallback(), host.store.previous()):
            if (release := host.store.find(digest)) is not None:
                self._worked_s = time.monotonic()
                host.runtime.copy(release, self._rest)

    def _rest(self) -> None:
        """As long as the last piece took, and while the robot changes. Raises when the agent stops."""
        host = self._host
        pause_s = min(time.monotonic() - self._worked_s, _LOOK_S)
        while host.stopping.wait(pause_s) or not host.work.idle:
            if host.stopping.is_set():
                raise _Ended("the agent stops; its next start makes the copy")
            pause_s = _LOOK_S
        self._worked_s = time.monotonic()
