"""The load ladder: when the machine cannot keep up, the policy lowers its own rate, then takes the smaller model, and
nothing else.

Pure: a rung is chosen from samples and times that are given. It goes down one rung when something is too high for a
while, up one when everything that is known has been low for longer, and never twice within five seconds. What has no
data argues for neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

HOT_S = 2.0
CALM_S = 10.0
DWELL_S = 5.0
SHARE = 0.1
"""A policy that uses less than this part of a core has nothing to give: lowering its rate would only make the robot
slower.
"""

LIMITS = {
    "cpu_percent": (85.0, 60.0),
    "memory_percent": (85.0, 60.0),
    "gpu_memory_percent": (90.0, 80.0),
    "pressure_percent": (40.0, 10.0),
    "temperature_c": (90.0, 80.0),
    "gpu_temperature_c": (90.0, 80.0),
    "throttled": (0.5, 0.5),
    "late_p99_ms": (10.0, 5.0),
    "struggling": (0.5, 0.5),
}
"""Above the first number a signal is too high, at or below the second it is low; in between it argues for no change."""


@dataclass(frozen=True)
class Rung:
    """What a policy does on one rung: its rate is divided, and the small model may run."""

    name: str
    divisor: int = 1
    small: bool = False


FULL = Rung("full")
SLOW = Rung("slow", 2)
SMALL = Rung("small", 1, True)


@dataclass(frozen=True)
class Ladder:
    """Where the policy stands: an index into its rungs, since when (monotonic s), and since when something is too high,
    or all is low.
    """

    index: int = 0
    since: float = float("-inf")
    hot_since: float | None = None
    calm_since: float | None = None

    def step(self, load: Mapping[str, float | None], share: float, now: float, rungs: int) -> Ladder:
        """The ladder after a look at `load`, a value of each signal in LIMITS or None; `share` is the part of a core
        the policy uses.
        """
        known = {name: value for name, value in load.items() if value is not None}
        hot = any(value > LIMITS[name][0] for name, value in known.items()) and (share >= SHARE or self.index > 0)
        calm = bool(known) and all(value <= LIMITS[name][1] for name, value in known.items())
        hot_since = _since(self.hot_since, hot, now)
        calm_since = _since(self.calm_since, calm, now)
        index = min(self.index, rungs - 1)
        if now - self.since >= DWELL_S:
            if hot_since is not None and now - hot_since >= HOT_S:
                index = min(index + 1, rungs - 1)
            elif calm_since is not None and now - calm_since >= CALM_S:
                index = max(index - 1, 0)
        if index != self.index:
            return Ladder(index, now)
        return replace(self, hot_since=hot_since, calm_since=calm_since)


def _since(before: float | None, holds: bool, now: float) -> float | None:
    """Since when something holds without a break: `before` where it did already, None where it does not."""
    if not holds:
        return None
    return now if before is None else before
