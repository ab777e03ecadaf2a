"""Time: the fixed-rate thread, what is known about its punctuality, and a watch on the ROS clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from stack.supervisor.priority import show_name

T = TypeVar("T")

STAMP_FUTURE_S = 0.05
"""A stamp may be this far ahead of the clock; more is a fault."""
_REMEMBERED = 500
_LEAD_S = 0.002
_OVERRUN = 10
_OVERRUN_WINDOW_S = 1.0
_STEP_S = 0.05
_SETTLE_S = 1.0
# Stamps that are still wrong this long after a clock step are the slot's fault.
_GIVE_UP_S = 5.0


class ClockWatch:
    """Compares ROS time with monotonic time (s) to notice that the ROS clock was set.

    Computers without a clock battery set it after every boot.

    A step stops the robot and clears by itself after a second of consistent stamps. It is nobody's fault and never
    latches.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._stepped_s = self._bad_stamp_s = float("-inf")

    def update(self, now_s: float, ros_s: float) -> None:
        """Once per tick. Slow drift is followed; a jump is a step."""
        offset_s = ros_s - now_s
        if self._offset_s is not None and abs(offset_s - self._offset_s) > _STEP_S:
            self._stepped_s = now_s
        self._offset_s = offset_s

    def excuses(self, now_s: float) -> bool:
        """Note a stamp that does not fit; True when a recent step explains it."""
        if now_s - self._stepped_s >= _GIVE_UP_S:
            return False
        self._bad_stamp_s = now_s
        return True

    def stepped(self, now_s: float) -> bool:
        """Whether stamps cannot be trusted now."""
        since_step = now_s - self._stepped_s
        wrong_still = now_s - self._bad_stamp_s < _SETTLE_S and since_step < _GIVE_UP_S
        return since_step < _SETTLE_S or wrong_still


class TickCounts:
    """Counts of one ticker. Lateness is the time from a tick's deadline to what it does then."""

    def __init__(self) -> None:
        self.count = 0
        self.missed = 0
        self.scheduler = "other"
        self._late_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._skips: deque[tuple[float, int]] = deque(maxlen=_OVERRUN)

    def skip(self, count: int, now_s: float) -> None:
        """Whole periods that nothing was published in."""
        self.missed += count
        self._skips.append((now_s, count))

    def overrun(self, now_s: float) -> bool:
        """Whether so many periods of the last second were skipped that its stops cannot be relied on."""
        return sum(count for at_s, count in self._skips if now_s - at_s < _OVERRUN_WINDOW_S) >= _OVERRUN

    def note(self, late_s: float) -> None:
        self.count += 1
        self._late_s.append(max(0.0, late_s))

    def document(self) -> dict[str, object]:
        """`late_p99_ms` is over the last 500 ticks."""
        late = sorted(self._late_s)
        p99 = round(late[int(0.99 * (len(late) - 1))] * 1e3, 3) if late else None
        return {"count": self.count, "missed": self.missed, "late_p99_ms": p99, "scheduler": self.scheduler}


class Ticker(threading.Thread, Generic[T]):
    """Run `decide` and `act` every `period_s` seconds until `stop`, then `last` once.

    `decide` runs shortly before the deadline, `act` on its result at the deadline (monotonic s).

    Deciding takes a millisecond, more or less; what others see of a tick comes at its deadline all the same. A late
    tick does not move the later ones; whole periods are skipped.
    """

    def __init__(
        self,
        period_s: float,
        decide: Callable[[], T],
        act: Callable[[T, float], None],
        last: Callable[[], None],
        ticks: TickCounts,
    ) -> None:
        super().__init__(name="tick", daemon=True)
        self._period_s = period_s
        self._ticks = ticks
        self._decide = decide
        self._act = act
        self._last = last
        self._ending = threading.Event()

    def stop(self, timeout_s: float) -> None:
        self._ending.set()
        self.join(timeout_s)

    def run(self) -> None:
        show_name(self.name)
        deadline = time.monotonic() + self._period_s
        while not self._ending.is_set():
            _sleep_until(deadline - min(_LEAD_S, self._period_s / 4))
            decided = self._decide()
            _sleep_until(deadline)
            if time.monotonic() - deadline > self._period_s:
                decided = self._decide()  # the process was stopped in between: what it had decided is of another time
            self._ticks.note(time.monotonic() - deadline)
            self._act(decided, deadline)
            deadline += self._period_s
            behind = time.monotonic() - deadline
            if behind > 0.0:
                skipped = int(behind / self._period_s)
                if skipped:
                    self._ticks.skip(skipped, time.monotonic())
                deadline += skipped * self._period_s
        self._last()


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))
