"""Ways that a body may take, as poses in its own frame: an arc, a turn on the spot, and its way until it stands."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stack.supervisor.limits import Command

Floats = NDArray[np.float64]
_PARTS = (8, 10, 8)
"""Poses of a stop: while nothing brakes yet, while it brakes, and in the margin behind."""


class Path(NamedTuple):
    """Poses along a way: metres gone until there (without sign), metres, metres, radians."""

    way: Floats
    x: Floats
    y: Floats
    turns: Floats


def arc(way: Floats, turns: Floats) -> Path:
    """Arcs of `way` (m, negative: backwards) over which the body turns `turns` (rad)."""
    half = turns / 2
    chord = way * np.sinc(half / math.pi)
    return Path(np.abs(way), chord * np.cos(half), chord * np.sin(half), turns)


class Braking(NamedTuple):
    """How a body brakes: seconds until it follows its command, then the slopes (m/s², rad/s²) of both speeds."""

    response_s: float
    linear: float
    angular: float

    def path(self, command: Command, turning: float, after_s: float, beyond_m: float) -> Path:
        """What a body does that is told `command` for `after_s` and then to stop, and `beyond_m` straight on behind.

        It turns at `turning` (rad/s) now, and takes on the commanded turn as it responds. Each speed ends on its own
        slope, so the way straightens or bends more towards its end.
        """
        linear, angular = command
        starts_s = after_s + self.response_s
        ends_s = abs(linear) / self.linear
        waits = np.linspace(0.0, starts_s, _PARTS[0], endpoint=False)
        brakes = np.linspace(0.0, ends_s, _PARTS[1] + 1)
        lag_s = max(self.response_s, 1e-3)
        behind = (turning - angular) * lag_s
        settled = behind * -np.expm1(-waits / lag_s)
        turned = angular * starts_s - behind * math.expm1(-starts_s / lag_s)
        spins = np.minimum(brakes, abs(angular) / self.angular)
        turns = turned + math.copysign(1.0, angular) * (abs(angular) * spins - self.angular * spins**2 / 2)
        way = abs(linear) * starts_s + abs(linear) * brakes - self.linear * brakes**2 / 2
        on = np.linspace(0.0, beyond_m, _PARTS[2] + 1)[1:]
        return _chained(
            np.concatenate((abs(linear) * waits, way, way[-1] + on)),
            np.concatenate((angular * waits + settled, turns, np.full(on.size, turns[-1]))),
            math.copysign(1.0, linear),
        )


def _chained(way: Floats, turns: Floats, sign: float) -> Path:
    """The poses of a way whose heading (rad) is given all along it."""
    steps = sign * np.diff(way)
    middle = (turns[1:] + turns[:-1]) / 2
    x = np.concatenate(((0.0,), np.cumsum(steps * np.cos(middle))))
    y = np.concatenate(((0.0,), np.cumsum(steps * np.sin(middle))))
    return Path(way, x, y, turns)
