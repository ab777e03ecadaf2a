"""A fixed rate by absolute deadlines.

A late tick does not delay the next one, and a skipped one is counted, not made up for.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from stack.policy.counts import Counts

_LATE_S = 0.01
_REMEMBERED = 200
_PRIORITY = 50


class Ticks:
    """Calls something at a rate. `late` ticks came more than 10 ms after their deadline, `missed` ones not at all.

    `late_counts` has all of them by their lateness. A tick that had nothing to say although it should have is reported
    with `empty`; too many of both is trouble.
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._late_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._bad: deque[bool] = deque(maxlen=_REMEMBERED)
        self.late_counts = Counts()
        self.late = 0
        self.missed = 0
        self.empty = 0

    def run(self, stop: threading.Event, tick: Callable[[int], None]) -> None:
        """Tick until `stop` is set, with real-time scheduling of this thread where this process may have it.

        `tick` is given the number of periods since the last one: 1, or more when ticks were skipped.
        """
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        deadline = time.monotonic() + self.period_s
        while not stop.wait(max(0.0, deadline - time.monotonic())):
            following = self.next_deadline(deadline, time.monotonic())
            tick(round((following - deadline) / self.period_s))
            deadline = following

    def next_deadline(self, deadline: float, woke: float) -> float:
        """Count how late the tick of `deadline` woke, and return the next deadline that is still ahead."""
        delay = woke - deadline
        self._late_s.append(max(0.0, delay))
        self.late_counts.add(delay * 1e3)
        self.late += int(delay > _LATE_S)
        skipped = max(0, int(delay // self.period_s))
        self.missed += skipped
        self._bad.extend([True] * min(skipped, _REMEMBERED))
        return deadline + (skipped + 1) * self.period_s

    def note(self, empty: bool) -> None:
        """Say of a tick whether it had no action although the robot should be moving."""
        self.empty += int(empty)
        self._bad.append(empty)

    @property
    def late_p99_ms(self) -> float | None:
        """Over the last 200 ticks; None before the first."""
        late = sorted(self._late_s)
        return late[int(0.99 * (len(late) - 1))] * 1e3 if late else None

    @property
    def struggling(self) -> bool:
        """Whether more than a twentieth of the last 200 ticks were missed or empty."""
        return sum(self._bad) > _REMEMBERED / 20
