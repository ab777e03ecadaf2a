"""The seed's safety thresholds, which an operator may make stricter while the robot runs, and no looser than robot.toml
says.

Looser again is only possible while the robot stands disarmed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from model_registry.core.errors import RefusedError, UsageError
from model_registry.core.robot import Limits, Robot

_SLOPE_PERIOD_S = 0.1
"""`max_action_deviation` is a change of speed per tick of the seed's node, which ran at 10 Hz."""
_SHORTEST_AGE_S = 0.05
_LARGEST_MARGIN_M = 5.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What holds now: a fraction of charge, m/s, rad/s, m, s, and m/s per 0.1 s."""

    min_battery: float
    max_linear: float
    max_angular: float
    min_obstacle: float
    max_processing_time: float
    max_action_deviation: float

    @classmethod
    def of(cls, robot: Robot) -> Thresholds:
        """Those of robot.toml."""
        limits = robot.limits
        deviation = limits.linear_acceleration * _SLOPE_PERIOD_S
        return cls(
            robot.battery_floor,
            limits.linear,
            limits.angular,
            robot.safety.margin,
            robot.safety.action_max_age_s,
            deviation,
        )

    def limits(self, robot: Limits) -> Limits:
        """The limits that follow. Braking keeps the whole slope."""
        return replace(robot, linear=self.max_linear, angular=self.max_angular)

    @property
    def linear_slope(self) -> float:
        """The steepest the forward speed may rise, m/s²."""
        return self.max_action_deviation / _SLOPE_PERIOD_S


NAMES = tuple(field.name for field in fields(Thresholds))
DESCRIPTIONS = {
    "min_battery": "fraction of charge below which the robot stops",
    "max_linear": "largest commanded forward speed, m/s",
    "max_angular": "largest commanded turning speed, rad/s",
    "min_obstacle": "free space kept beyond the stopping distance, m",
    "max_processing_time": "oldest observation that an action may be derived from, s",
    "max_action_deviation": "largest change of the forward speed within 0.1 s, m/s",
}


def span(name: str, robot: Robot) -> tuple[float, float]:
    """The range a threshold may be set to; one end is robot.toml's own value."""
    own = getattr(Thresholds.of(robot), name)
    if name == "min_battery":
        return own, 1.0
    if name == "min_obstacle":
        return own, max(own, _LARGEST_MARGIN_M)
    return (_SHORTEST_AGE_S if name == "max_processing_time" else 0.01 * own), own


def changed(now: Thresholds, name: str, value: float, robot: Robot, may_loosen: bool) -> Thresholds:
    """`now` with one threshold set.

    Raises UsageError for a value out of its range, RefusedError for a looser one while the robot may move.
    """
    if name not in NAMES:
        raise UsageError(f"{name}: not a threshold; known: {', '.join(NAMES)}")
    low, high = span(name, robot)
    if not low <= value <= high:
        raise UsageError(f"{name}: expected {low:g} to {high:g} as robot.toml allows, got {value:g}")
    before = getattr(now, name)
    looser = value < before if name.startswith("min") else value > before
    if looser and not may_loosen:
        raise RefusedError(
            f"{name}: {value:g} is looser than {before:g}, and the robot may move; disarm it first (hold is not enough)"
        )
    return replace(now, **{name: value})
