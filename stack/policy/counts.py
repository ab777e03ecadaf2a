"""How many of a kind took how long, since the start: what percentiles over the newest ones cannot tell."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_MS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)


class Counts:
    """Milliseconds, counted by `BOUNDS_MS`. One thread adds; others may read."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)

    def add(self, ms: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_MS, ms)] += 1

    def pairs(self) -> list[list[float | None]]:
        """Each bound, and how many kept it and not the bound before; None for what kept no bound."""
        return [[bound, count] for bound, count in zip((*BOUNDS_MS, None), self._counts, strict=True)]
