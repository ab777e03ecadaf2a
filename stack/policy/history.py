"""The last values of a source, for policies that look back: a few of them, about equally long ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_PER_STEP = 4
"""Values kept for each wanted step: how near to the wanted moment one is found."""
_PAUSE_S = 1.0
"""How much longer than what is looked back to a source may pause: one that is only slow keeps its past."""


class History(Generic[T]):
    """Keeps what `frames` and `every_s` of a recipe ask for. One thread adds; `pick` sees a copy.

    `frames` are offsets such as (-2, -1, 0), `every_s` the seconds of one.
    """

    def __init__(self, frames: Sequence[int], every_s: float) -> None:
        self._ages_s = [-offset * every_s for offset in frames]
        self._apart_s = every_s / _PER_STEP
        self._span_s = self._ages_s[0] + every_s
        self._kept: deque[tuple[float, T]] = deque()

    @property
    def looks_back(self) -> bool:
        return len(self._ages_s) > 1

    def add(self, value: T, now: float) -> None:
        """Take the newest value, which came at `now` (monotonic s); the one before goes if it came too close.

        After a pause longer than all that is looked back to it begins anew: what was before is the past of nothing.
        """
        kept = self._kept
        if kept and now - kept[-1][0] > self._span_s + _PAUSE_S:
            self._kept = deque([(now, value)])
            return
        if len(kept) > 1 and now - kept[-2][0] < self._apart_s:
            kept.pop()
        kept.append((now, value))
        while len(kept) > 1 and now - kept[1][0] > self._span_s:
            kept.popleft()

    def pick(self) -> tuple[T, ...]:
        """One value for each offset, oldest first: the newest that is at least so old, or else the oldest there is."""
        kept = list(self._kept)
        newest = kept[-1][0]
        found = []
        for age_s in self._ages_s:
            old_enough = [value for at, value in kept if newest - at >= age_s - self._apart_s / 2]
            found.append(old_enough[-1] if old_enough else kept[0][1])
        return tuple(found)
