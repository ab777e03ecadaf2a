"""Clamp and slew: the last two things that happen to every command."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_registry.core.robot import Limits

Command = tuple[float, float]
"""Linear (m/s) and angular (rad/s) speed."""
ZERO: Command = (0.0, 0.0)


def clamp(value: float, limit: float) -> float:
    """`value` within ±limit; anything that is not finite becomes 0 (min and max would turn NaN into full speed)."""
    return max(-limit, min(limit, value)) if math.isfinite(value) else 0.0


def slew(last: float, target: float, largest_step: float) -> float:
    """Move from `last` towards `target` by at most `largest_step`."""
    return last + max(-largest_step, min(largest_step, target - last))


def exceeds(value: Command, limits: Limits, factor: float) -> bool:
    """Whether a request is above `factor` times a limit."""
    return abs(value[0]) > limits.linear * factor or abs(value[1]) > limits.angular * factor


@dataclass
class Limiter:
    """Holds the last command, so that a change of slot is a change of target and nothing else."""

    limits: Limits
    tick_s: float
    last: Command = ZERO
    clamped_ticks: int = 0

    def follow(self, target: Command) -> Command:
        """The next command on the way to `target`: within the limits, and within one tick's slope of the last one."""
        limits = self.limits
        wanted = (clamp(target[0], limits.linear), clamp(target[1], limits.angular))
        self.clamped_ticks += wanted != target
        self.last = (
            slew(self.last[0], wanted[0], limits.linear_acceleration * self.tick_s),
            slew(self.last[1], wanted[1], limits.angular_acceleration * self.tick_s),
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
