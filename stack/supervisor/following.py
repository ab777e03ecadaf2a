"""Whether the measured speed can be that of a base which does what it is told.

    following = Following(robot.base_response_s)
    following.tell(command, now_s)  # every tick
    following.measure(speed)        # every odometry message
    following.fault(now_s)          # a sentence with both numbers, or None

Odometry that says a tenth, five times, or the opposite of what the robot does would switch `obstacle` off, or brake
for nothing. Nobody but the base can be asked whether it is true, and bases follow late, slower than told (load,
slope, a smaller top speed), or not at all (a dead band). So only this is a fault, for each of the two speeds:
- more than the largest speed that was commanded lately, or the opposite direction, for `_TOO_LONG` tenths of a
  second;
- less than `_FOLLOWS` of what has been commanded without a pause for two seconds, in the last one and a half of
  them, where that is not slow. A robot that is pushed while it is told nothing does neither; it only cannot be armed
  before it stands.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from stack.supervisor.limits import Command

_BIN_S = 0.1
_LATE_S = 1.0
"""Beyond its response a base may be this late."""
_STEADY_S = 2.0
_TOO_LONG = 3
_FOLLOWS = 0.2
_LAST_BINS = 15
_TOLD_S = 2.0


@dataclass(frozen=True, slots=True)
class _Tolerance:
    """How far one speed may be from what was commanded: a part of the largest command, and this many m/s or rad/s.

    `beyond` in the commanded direction, `against` in the other one. Below `slow` a base need not follow at all.
    """

    unit: str
    beyond: float
    against: float
    slow: float


_TOLERANCES = (_Tolerance("m/s", 0.1, 0.05, 0.1), _Tolerance("rad/s", 0.3, 0.1, 0.2))
_BEYOND_SHARE = 0.5
_AGAINST_SHARE = 0.25
_MOVES = 1e-3


@dataclass(slots=True)
class _Axis:
    """A tenth of a second of one of the two speeds: the lowest and highest command, and the measured ones."""

    lowest: float = math.inf
    highest: float = -math.inf
    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class _Bin:
    start_s: float
    axes: tuple[_Axis, _Axis] = field(default_factory=lambda: (_Axis(), _Axis()))


class Following:
    """Commands and measured speeds of the last seconds, in tenths of a second."""

    def __init__(self, response_s: float) -> None:
        self._late_bins = math.ceil((response_s + _LATE_S) / _BIN_S)
        self._steady_bins = math.ceil((response_s + _STEADY_S) / _BIN_S)
        self._bins: deque[_Bin] = deque(maxlen=max(self._late_bins, self._steady_bins))
        self._now: _Bin | None = None
        self._outside = [0, 0]
        self._fault: str | None = None
        self._told_until_s = -math.inf

    def tell(self, command: Command, now_s: float) -> None:
        """Note what the base is told, once a tick."""
        if self._now is None:
            self._now = _Bin(now_s)
        elif now_s - self._now.start_s >= _BIN_S:
            self._bins.append(self._now)
            self._look(now_s)
            self._now = _Bin(now_s)
        for axis, value in zip(self._now.axes, command, strict=True):
            axis.lowest = min(axis.lowest, value)
            axis.highest = max(axis.highest, value)

    def measure(self, speed: Command) -> None:
        """Note what odometry says."""
        if self._now is not None:
            for axis, value in zip(self._now.axes, speed, strict=True):
                axis.total += value
                axis.count += 1

    def fault(self, now_s: float) -> str | None:
        return self._fault if now_s < self._told_until_s else None

    def _look(self, now_s: float) -> None:
        """Judge the tenth of a second that has just ended."""
        late = [bin_.axes for bin_ in self._bins][-self._late_bins :]
        told = any(max(axis.highest, -axis.lowest) > _MOVES for axes in late for axis in axes)
        for number, tolerance in enumerate(_TOLERANCES):
            if not told:
                self._outside[number] = 0
                continue
            wrong = self._outside_of([axes[number] for axes in late], number, tolerance)
            wrong = wrong or self._behind([bin_.axes[number] for bin_ in self._bins], tolerance)
            if wrong:
                self._fault = wrong
                self._told_until_s = now_s + _TOLD_S

    def _outside_of(self, bins: list[_Axis], number: int, tolerance: _Tolerance) -> str | None:
        """Whether the newest mean is beyond everything that was commanded lately."""
        mean = bins[-1].mean
        if mean is None:
            return None
        low = min(0.0, *(axis.lowest for axis in bins))
        high = max(0.0, *(axis.highest for axis in bins))
        largest = max(high, -low)
        beyond = tolerance.beyond + _BEYOND_SHARE * largest
        against = tolerance.against + _AGAINST_SHARE * largest
        # Where nothing was commanded there is no direction to be against: what moves it is not the command.
        above = high + (beyond if high > 0.0 or largest == 0.0 else against)
        below = low - (beyond if low < 0.0 or largest == 0.0 else against)
        self._outside[number] = self._outside[number] + 1 if mean > above or mean < below else 0
        if self._outside[number] < _TOO_LONG:
            return None
        told = high if high >= -low else low
        return (
            f"says {mean:.3g} {tolerance.unit} where at most {told:.3g} {tolerance.unit} was commanded "
            f"in the last {len(bins) * _BIN_S:.1f} s; check units, direction and the base"
        )

    def _behind(self, bins: list[_Axis], tolerance: _Tolerance) -> str | None:
        """Whether it hardly moves although it has been told to for long."""
        if len(bins) < self._steady_bins:
            return None
        steady = bins[-self._steady_bins :]
        least = max(min(axis.lowest for axis in steady), -max(axis.highest for axis in steady))
        means = [mean for axis in steady[-_LAST_BINS:] if (mean := axis.mean) is not None]
        if least < tolerance.slow or not means:
            return None
        most = max(map(abs, means))
        if most >= _FOLLOWS * least:
            return None
        return (
            f"says at most {most:.3g} {tolerance.unit} where {least:.3g} {tolerance.unit} has been commanded for "
            f"{len(steady) * _BIN_S:.1f} s; check units, motor power and brakes"
        )
