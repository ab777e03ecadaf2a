"""Clamp and slew: the last two things that happen to every command."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_registry.core.robot import Limits

Command = tuple[float, float]
"""Linear (m/s) and angular (rad/s) speed."""
ZERO: Command = (0.0, 0.0)


def exceeds(value: Command, limits: Limits, factor: float) -> bool:
    """Whether a request is above `factor` times a limit."""
    return abs(value[0]) > limits.linear * factor or abs(value[1]) > limits.angular * factor


def _approach(last: float, target: float, limit: float, largest_step: float) -> float:
    """From `last` towards `target` within ±limit, by at most `largest_step`; a target that is not finite is 0 (min and max would turn NaN into full speed)."""
    wanted = max(-limit, min(limit, target)) if math.isfinite(target) else 0.0
    return last + max(-largest_step, min(largest_step, wanted - last))


@dataclass
class Limiter:
    """Holds the last command, so that a change of slot is a change of target and nothing else."""

    limits: Limits
    tick_s: float
    last: Command = ZERO

    def follow(self, target: Command) -> Command:
        """The next command on the way to `target`: within the limits, and within one tick's slope of the last one."""
        limits, tick_s = self.limits, self.tick_s
        self.last = (
            _approach(self.last[0], target[0], limits.linear, limits.linear_acceleration * tick_s),
            _approach(self.last[1], target[1], limits.angular, limits.angular_acceleration * tick_s),
        )
        return self.last

    def zero(self) -> Command:
        """Zero at once, without a slope."""
        self.last = ZERO
        return ZERO

    @property
    def longest_ramp_s(self) -> float:
        """Time from full speed to zero."""
        limits = self.limits
        return max(limits.linear / limits.linear_acceleration, limits.angular / limits.angular_acceleration)
