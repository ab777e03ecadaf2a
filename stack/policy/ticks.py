"""A fixed rate by absolute deadlines: a late tick does not delay the next one, and a skipped one is counted, not made up for."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

_LATE_S = 0.01
_PRIORITY = 50


class Ticks:
    """Calls something at a rate. `late` ticks came more than 10 ms after their deadline, `missed` ones not at all."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self.late = 0
        self.missed = 0

    def run(self, stop: threading.Event, tick: Callable[[], None]) -> None:
        """Tick until `stop` is set, with real-time scheduling of this thread where this process may have it."""
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        deadline = time.monotonic() + self._period_s
        while not stop.wait(max(0.0, deadline - time.monotonic())):
            deadline = self.next_deadline(deadline, time.monotonic())
            tick()

    def next_deadline(self, deadline: float, woke: float) -> float:
        """Count how late the tick of `deadline` woke, and return the next deadline that is still ahead."""
        delay = woke - deadline
        self.late += int(delay > _LATE_S)
        skipped = max(0, int(delay // self._period_s))
        self.missed += skipped
        return deadline + (skipped + 1) * self._period_s
