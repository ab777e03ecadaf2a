"""Ends a supervisor that hangs, so that systemd starts it again: one that does not tick is better started anew. Meanwhile the base has stopped by itself.

The thread that waits here is the interpreter's own and needs nothing of it: what holds the interpreter for good is found too, and where every thread
stood is the last that the process writes.
"""

from __future__ import annotations

import faulthandler

HUNG_S = 5.0


class Watchdog:
    """`look` again and again: when what it is shown does not rise for `limit_s`, the process ends with exit code 1."""

    def __init__(self, limit_s: float = HUNG_S) -> None:
        self._limit_s, self._count = limit_s, -1

    def look(self, count: int) -> None:
        """Begin to wait anew when `count` has risen."""
        if count > self._count:
            self._count = count
            faulthandler.dump_traceback_later(self._limit_s, exit=True)

    def end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
