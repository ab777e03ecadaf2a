"""Dead reckoning: where the body has gone by its own motion, for what it saw a moment ago has moved in its frame."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stack.supervisor.limits import Command

Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]
_KEPT = 128
"""Poses, one a tick at 50 Hz: as many as the stamp of a late scan may reach back to."""
_LONGEST_STEP_S = 0.5
_TREMBLES: Command = (0.002, 0.005)
"""What odometry says of a body that does not move at all, m/s and rad/s."""


class BodyPose(NamedTuple):
    """A place in the frame of the start: metres and radians from where the body was at first."""

    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0

    def out(self, points: Points) -> Points:
        """Points of the body's frame, in the frame of the start."""
        cos = math.cos(self.heading)
        sin = math.sin(self.heading)
        x, y = points
        return self.x + cos * x - sin * y, self.y + sin * x + cos * y

    def into(self, points: Points) -> Points:
        """Points of the frame of the start, in the body's frame."""
        cos = math.cos(self.heading)
        sin = math.sin(self.heading)
        x = points[0] - self.x
        y = points[1] - self.y
        return cos * x + sin * y, cos * y - sin * x


class Reckoning:
    """The poses of the last seconds, added up from speeds.

    They drift, by a few centimetres on ten metres; nothing is remembered for a longer way than that.
    """

    def __init__(self) -> None:
        self.pose = BodyPose()
        self.travelled_m = 0.0
        """How far the body has gone, and its points a metre ahead of it have turned, altogether."""
        self._poses: deque[tuple[float, BodyPose]] = deque(maxlen=_KEPT)

    @property
    def now_s(self) -> float:
        """When it was told last."""
        return self._poses[-1][0] if self._poses else 0.0

    def move(self, speed: Command, now_s: float) -> None:
        """The body had this speed since the last call."""
        step_s = min(now_s - self._poses[-1][0], _LONGEST_STEP_S) if self._poses else 0.0
        x, y, heading = self.pose
        turn = speed[1] * step_s
        way = speed[0] * step_s
        middle = heading + turn / 2
        self.pose = BodyPose(x + way * math.cos(middle), y + way * math.sin(middle), heading + turn)
        if abs(speed[0]) > _TREMBLES[0] or abs(speed[1]) > _TREMBLES[1]:
            self.travelled_m += abs(way) + abs(turn)
        self._poses.append((now_s, self.pose))

    def at(self, when_s: float) -> BodyPose:
        """Where it was at a time; the oldest known pose for a time before."""
        later_s = math.inf
        later = self.pose
        for at_s, pose in reversed(self._poses):
            if at_s <= when_s:
                if math.isinf(later_s):
                    return pose
                share = (when_s - at_s) / (later_s - at_s)
                return BodyPose(*(a + share * (b - a) for a, b in zip(pose, later, strict=True)))
            later_s = at_s
            later = pose
        return later
