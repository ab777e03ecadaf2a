"""Keeps the latched reasons over a restart of the supervisor.

An e-stop that was pressed stays pressed when a process ends.

The file is in the run folder, so a boot clears it; after a boot nothing moves before somebody arms. A thread of its own
writes it, since no file may make a tick late.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError
from model_registry.core.files import Files
from stack.supervisor import priority
from stack.supervisor.state import LATCHING, NONE, Reason, names

log = logging.getLogger(__name__)


def read(path: Path) -> Reason:
    """What was latched when the supervisor before this one ended; NONE when there was none.

    A file that cannot be read latches `exception`.
    """
    try:
        reader = Reader(parse(path.read_bytes(), path.name), path.name)
        reader.schema()
        found = reader.texts("latched")
        reader.done()
    except FileNotFoundError:
        return NONE
    except (OSError, HomeportError) as error:
        log.warning("%s: %s; latched until somebody resets", path, error)
        return Reason.EXCEPTION
    latched = NONE
    for name in found:
        known = name.upper() in Reason.__members__
        latched |= Reason[name.upper()] & LATCHING if known else Reason.EXCEPTION
    return latched


class LatchWriter(threading.Thread):
    """Writes what is latched whenever `note` says something new."""

    def __init__(self, path: Path, latched: Reason) -> None:
        super().__init__(name="latch", daemon=True)
        self._path = path
        self._wanted = self._written = latched
        self._news = threading.Event()
        self._ending = False

    def note(self, latched: Reason) -> None:
        """Called at every tick; never blocks."""
        if latched != self._wanted:
            self._wanted = latched
            self._news.set()

    def stop(self, timeout_s: float) -> None:
        """Write what was noted last, and end."""
        self._ending = True
        self._news.set()
        self.join(timeout_s)

    def run(self) -> None:
        priority.step_back("latch")
        while not self._ending:
            self._news.wait()
            self._news.clear()
            self._write(self._wanted)

    def _write(self, latched: Reason) -> None:
        if latched == self._written:
            return
        try:
            Files().write(self._path, dump({"schema": 1, "latched": names(latched)}), 0o640)
        except OSError as error:
            log.warning("%s: %s; a restart would forget what is latched", self._path, error)
        self._written = latched
