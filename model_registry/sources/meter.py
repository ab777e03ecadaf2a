"""How far a transfer is, how fast it goes, and how fast it may go."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from model_registry.core.errors import UsageError
from model_registry.core.transfer import Transfer
from model_registry.sources.patience import TransferError

_WINDOW_S = 10.0
_SLOW_S = 30.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_rate(text: str) -> float:
    """`20M` → bytes a second, in powers of 1,024 as curl reads it. Raises UsageError."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    try:
        rate = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        rate = 0.0
    if not 0 < rate < 1e15:
        raise UsageError(f"rate {text!r}: expected bytes a second, such as 500K or 20M")
    return rate


class Meter:
    """Counts the bytes of one transfer, from any thread; a Progress with a total.

    `limit` and `least` are in bytes a second: a call pauses to keep below the one, and raises TransferError when the
    other was not reached for 30 s. `show` is called after each count.
    """

    def __init__(
        self,
        show: Callable[[Meter], None] = lambda meter: None,
        limit: float | None = None,
        least: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self.total: int | None = None
        self.done = 0
        self._show = show
        self._limit = limit
        self._least = least
        self._clock = clock
        self._rest = rest
        self._lock = threading.Lock()
        self._began_s = clock()
        self._came = 0
        self._seen: deque[tuple[float, int]] = deque([(self._began_s, 0)])

    def expect(self, total: int) -> None:
        """The whole is `total` bytes, and it begins."""
        with self._lock:
            self.total = total
            self.done = 0
        self._show(self)

    def __call__(self, count: int) -> None:
        with self._lock:
            now_s = self._clock()
            self.done += count
            self._came += count
            self._seen.append((now_s, self._came))
            keep_s = max(_WINDOW_S, _SLOW_S if self._least else 0.0)
            while now_s - self._seen[1][0] > keep_s:
                self._seen.popleft()
            slow = self._least is not None and now_s - self._seen[0][0] >= _SLOW_S and self.rate < self._least
            ahead_s = 0.0 if self._limit is None else self._began_s + self._came / self._limit - now_s
        if slow:
            raise TransferError(f"slower than {self._least:.0f} bytes a second for {_SLOW_S:.0f} s; try again later")
        self._show(self)
        if ahead_s > 0:
            self._rest(ahead_s)

    def took(self, count: int) -> None:
        """Bytes that are here without having been fetched."""
        with self._lock:
            self.done += count
        self._show(self)

    @property
    def rate(self) -> float:
        """Bytes a second of late."""
        began_s, before = self._seen[0]
        now_s, came = self._seen[-1]
        return (came - before) / (now_s - began_s) if now_s > began_s else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this rate; None while that is not known."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate

    def transfer(self) -> Transfer:
        """How far it is now."""
        left_s = self.left_s
        return Transfer(self.done, self.total, round(self.rate), None if left_s is None else round(left_s))
