"""Clamp, slope and jerk: the last things that happen to every command."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from model_registry.core.robot import Limits

Command = tuple[float, float]
"""Linear (m/s) and angular (rad/s) speed."""
ZERO: Command = (0.0, 0.0)
_SAME = 1e-12  # below the dust that sums of slopes leave


def exceeds(value: Command, limits: Limits, factor: float) -> bool:
    """Whether a request is above `factor` times a limit."""
    return abs(value[0]) > limits.linear * factor or abs(value[1]) > limits.angular * factor


def within(value: float, limit: float) -> float:
    """`value` held within ±limit; what is not finite is 0 (min and max would turn NaN into full speed)."""
    return max(-limit, min(limit, value)) if math.isfinite(value) else 0.0


@dataclass
class Axis:
    """One of the two speeds, and its slope of the last tick.

    In one tick the speed grows by at most `rise` and falls by at most `slope`, and that change grows by at most `jerk`.
    """

    limit: float = 0.0
    slope: float = 0.0
    rise: float = 0.0
    jerk: float = 0.0
    last: float = 0.0
    step: float = 0.0

    def drive(self, target: float) -> float:
        """Towards `target`, so that the slope is gone when the speed is reached.

        A slope grows by at most `jerk` a tick, and may end at once.

        The speed never moves away from its target and never beyond it: a slope that is left over carries it nowhere
        else.
        """
        wanted = within(target, self.limit)
        gap = wanted - self.last
        # Steps of k, k-1, … 1 times the jerk cover jerk*k*(k+1)/2: the largest k that does not pass the target.
        steps = (math.sqrt(1.0 + 8.0 * abs(gap) / self.jerk) - 1.0) / 2.0
        slope = self.rise if wanted * self.last >= 0.0 and abs(wanted) > abs(self.last) else self.slope
        ideal = math.copysign(min(slope, steps * self.jerk, abs(gap)), gap)
        value = self.last + self.step + within(ideal - self.step, self.jerk)
        value = max(min(self.last, wanted), min(max(self.last, wanted), value))
        value = wanted if abs(wanted - value) < _SAME else value
        self.step = value - self.last
        self.last = value
        return value

    def brake(self, target: float) -> float:
        """Towards `target` by the whole slope at once: stopping does not wait for comfort."""
        self.last += within(within(target, self.limit) - self.last, self.slope)
        self.step = 0.0
        return self.last

    def zero(self) -> None:
        self.last = self.step = 0.0


@dataclass
class Limiter:
    """Holds the last command, so that a change of slot is a change of target and nothing else."""

    limits: Limits
    tick_s: float
    axes: tuple[Axis, Axis] = field(default_factory=lambda: (Axis(), Axis()))

    def __post_init__(self) -> None:
        self.allow(self.limits, self.limits.linear_acceleration)

    def allow(self, limits: Limits, linear_slope: float) -> None:
        """Other limits from the next command on; the forward speed rises by at most `linear_slope` (m/s²)."""
        self.limits = limits
        tick_s = self.tick_s
        linear, angular = self.axes
        linear.limit = limits.linear
        angular.limit = limits.angular
        linear.slope = limits.linear_acceleration * tick_s
        angular.slope = limits.angular_acceleration * tick_s
        linear.rise = linear_slope * tick_s
        angular.rise = angular.slope
        linear.jerk = limits.linear_jerk * tick_s**2
        angular.jerk = limits.angular_jerk * tick_s**2

    @property
    def last(self) -> Command:
        return self.axes[0].last, self.axes[1].last

    def follow(self, target: Command, cap: float = math.inf, turns: bool = True) -> Command:
        """The next command on the way to `target`: within limits, slope and jerk.

        A linear speed above `cap` is braked, not eased, down to it, and so is the turning of a robot that may not turn
        (`turns`).
        """
        linear, angular = self.axes
        wanted = max(-cap, min(cap, target[0]))
        return (
            linear.brake(wanted) if abs(linear.last) > cap else linear.drive(wanted),
            angular.drive(target[1]) if turns else angular.brake(0.0),
        )

    def next(self, target: Command, cap: float, turns: bool) -> Command:
        """What `follow` would give."""
        before = [(axis.last, axis.step) for axis in self.axes]
        command = self.follow(target, cap, turns)
        for axis, (last, step) in zip(self.axes, before, strict=True):
            axis.last = last
            axis.step = step
        return command

    def brake(self, target: Command = ZERO) -> Command:
        """The next command down to `target`, as steep as the slope allows."""
        return self.axes[0].brake(target[0]), self.axes[1].brake(target[1])

    def zero(self) -> Command:
        """Zero at once, without a slope."""
        for axis in self.axes:
            axis.zero()
        return ZERO

    @property
    def longest_ramp_s(self) -> float:
        """Time from full speed to zero."""
        limits = self.limits
        return max(limits.linear / limits.linear_acceleration, limits.angular / limits.angular_acceleration)
