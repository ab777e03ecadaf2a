"""A fixed-rate thread with absolute deadlines, and what is known about its punctuality."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

_PRIORITY = 50
_REMEMBERED = 500


class Ticks:
    """Counts of one ticker. Lateness is the time from a tick's deadline to its start."""

    def __init__(self) -> None:
        self.count = 0
        self.missed = 0
        self.scheduler = "other"
        self._late_s: deque[float] = deque(maxlen=_REMEMBERED)

    def note(self, late_s: float) -> None:
        self.count += 1
        self._late_s.append(max(0.0, late_s))

    def document(self) -> dict[str, object]:
        """`late_p99_ms` is over the last 500 ticks."""
        late = sorted(self._late_s)
        p99 = round(late[int(0.99 * (len(late) - 1))] * 1e3, 3) if late else None
        return {"count": self.count, "missed": self.missed, "late_p99_ms": p99, "scheduler": self.scheduler}


class Ticker(threading.Thread):
    """Calls `tick` every `period_s` seconds until `stop`, then `last` once. A late tick does not move the later ones; whole periods are skipped."""

    def __init__(self, period_s: float, tick: Callable[[], None], last: Callable[[], None], ticks: Ticks) -> None:
        super().__init__(name="tick", daemon=True)
        self._period_s = period_s
        self._tick = tick
        self._last = last
        self._ticks = ticks
        self._ending = threading.Event()

    def stop(self, timeout_s: float) -> None:
        self._ending.set()
        self.join(timeout_s)

    def run(self) -> None:
        self._ticks.scheduler = _become_real_time()
        deadline = time.monotonic()
        while not self._ending.is_set():
            self._ticks.note(time.monotonic() - deadline)
            self._tick()
            deadline += self._period_s
            behind = time.monotonic() - deadline
            if behind > self._period_s:
                skipped = int(behind / self._period_s)
                self._ticks.missed += skipped
                deadline += skipped * self._period_s
            time.sleep(max(0.0, deadline - time.monotonic()))
        self._last()


def _become_real_time() -> str:
    """Ask for SCHED_FIFO for the calling thread; `fifo` or `other`."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except OSError as error:
        log.warning("No real-time scheduling for the tick thread (%s); ticks may be late under load", error.strerror)
        return "other"
    return "fifo"
