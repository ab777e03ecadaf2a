"""Where the way is free: one laser scan as angle sectors, and how fast the body may go among them.

This is the supervisor's own reading of the scan, written apart from the one that feeds the network. What cannot be seen is not free: a direction in
which too many sectors have no readable beam is closed. A beam without an echo (+inf, or beyond the scanner's range) is free; one that is NaN, zero or
below the scanner's range says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_registry.core.robot import Footprint, Lidar
from stack.supervisor.limits import Command

Floats = NDArray[np.float64]

SECTORS = 180
"""Of each, the nearest point is kept."""
_VIEWS = 36
"""Of each, whether any beam in it could be read; wider, since a scanner may have few beams."""
_VIEW_RAD = math.radians(35.0)
_UNSEEN = 1 / 3  # of the sectors in the direction of travel
_STRAIGHT = 1e-3  # rad/m: less bend than this is none
_BESIDE_M = 0.02  # a thing this near beside the swept floor is on it
_MAX_BEAMS = 100_000
_VIEW_MIDDLES = -math.pi + math.tau / _VIEWS * (np.arange(_VIEWS) + 0.5)


@dataclass(frozen=True, slots=True)
class Scan:
    """What is used of sensor_msgs/LaserScan: ROS seconds, radians, metres, and `ranges` float32 [beams]."""

    stamp_s: float
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float32]


class Obstacles:
    """The newest scan around a body. `see` may be called by another thread than the rest: it replaces the picture as a whole."""

    def __init__(self, footprint: Footprint, lidar: Lidar) -> None:
        self._body, self._lidar = footprint, lidar
        self._beams: tuple[tuple[int, float, float], Floats, Floats] | None = None
        self._points: tuple[Floats, Floats] = (np.full(SECTORS, np.inf), np.full(SECTORS, np.inf))
        self._seen = np.zeros(_VIEWS, dtype=bool)
        self.nearest_m: float | None = None

    def see(self, scan: Scan) -> str | None:
        """Take a scan; what is wrong with it, or None."""
        if (
            not 0 < scan.ranges.size <= _MAX_BEAMS
            or not scan.angle_increment
            or not scan.range_max > scan.range_min >= 0.0
        ):
            return "cannot be read"
        cos, sin = self._directions(scan)
        ranges = scan.ranges.astype(np.float64)
        hit = (ranges >= scan.range_min) & (ranges <= scan.range_max)
        touching = np.isneginf(ranges)  # nearer than the scanner can tell, by its own word
        ranges[touching] = scan.range_min
        hit |= touching
        readable = hit | (ranges > scan.range_max)
        if readable.mean() < self._lidar.min_valid:
            return "is blind"
        ranges[~hit] = 0.0  # inf times zero is no number
        self._sort(self._lidar.x + ranges * cos, self._lidar.y + ranges * sin, hit, readable, np.arctan2(sin, cos))
        return None

    def _directions(self, scan: Scan) -> tuple[Floats, Floats]:
        """Cosine and sine of every beam in the body's frame, kept while the scanner stays as it is."""
        shape = (scan.ranges.size, scan.angle_min, scan.angle_increment)
        if self._beams is None or self._beams[0] != shape:
            angles = self._lidar.yaw + scan.angle_min + scan.angle_increment * np.arange(scan.ranges.size)
            self._beams = (shape, np.cos(angles), np.sin(angles))
        return self._beams[1], self._beams[2]

    def _sort(
        self, x: Floats, y: Floats, hit: NDArray[np.bool_], readable: NDArray[np.bool_], bearings: Floats
    ) -> None:
        """Keep of every sector the nearest point as the body sees it, and which directions could be seen."""
        seen = np.zeros(_VIEWS, dtype=bool)
        seen[_sector(bearings[readable], _VIEWS)] = True
        x, y = x[hit], y[hit]
        distance = np.hypot(x, y)
        order = np.argsort(-distance, kind="stable")  # the nearest is written last
        sector = _sector(np.arctan2(y, x), SECTORS)[order]
        points = np.full(SECTORS, np.inf), np.full(SECTORS, np.inf)
        points[0][sector], points[1][sector] = x[order], y[order]
        self.nearest_m = float(distance.min()) if distance.size else None
        self._points, self._seen = points, seen

    def free_m(self, command: Command) -> float:
        """How far the body can go along the path of `command` (m/s, rad/s) before it touches something.

        inf: as far as the scan sees. 0 where the way is not seen.
        """
        linear, angular = command
        if linear == 0.0:
            return math.inf
        if self._unseen(linear):
            return 0.0
        ahead, aside = self._along(linear, angular)
        body = self._body
        if body.round:
            extent = np.sqrt(np.maximum(body.half_width**2 - aside**2, 0.0))
        else:
            extent = np.full(SECTORS, body.front if linear > 0 else body.rear)
        on_the_way = (ahead > 0.0) & (np.abs(aside) <= body.half_width + _BESIDE_M)
        if not body.round:
            on_the_way &= ahead >= extent - _BESIDE_M  # what stands beside the body is not before it
        return float(np.min(np.maximum(ahead - extent, 0.0), where=on_the_way, initial=math.inf))

    def _along(self, linear: float, angular: float) -> tuple[Floats, Floats]:
        """Of each sector's point, how far along the path it lies and how far beside it, both in metres."""
        x, y = self._points
        bend = angular / linear
        if abs(bend) < _STRAIGHT:
            return (x if linear > 0 else -x), y
        radius = 1.0 / bend
        with np.errstate(invalid="ignore"):  # a sector without a point: inf - inf
            aside = np.hypot(x, y - radius) - abs(radius)
            turned = np.arctan2(x * math.copysign(1.0, linear), (radius - y) * math.copysign(1.0, radius))
        empty = ~np.isfinite(x)
        return np.where(empty, np.inf, abs(radius) * turned), np.where(empty, np.inf, aside)

    def _unseen(self, linear: float) -> bool:
        turned = _VIEW_MIDDLES if linear > 0 else np.abs(_VIEW_MIDDLES) - math.pi
        view = self._seen[np.abs(turned) <= _VIEW_RAD]
        return bool(np.count_nonzero(~view) > _UNSEEN * view.size)

    def may_turn(self, command: Command) -> bool:
        """Whether a body that is not round has room for a turn as tight as this one; a round one needs none."""
        body, (linear, angular) = self._body, command
        reach = math.hypot(max(body.front, body.rear), body.half_width)
        if body.round or self.nearest_m is None or abs(angular) * reach <= abs(linear):
            return True
        return self.nearest_m > reach + _BESIDE_M


def _sector(bearings: Floats, count: int) -> NDArray[np.int64]:
    """Which of `count` sectors each bearing (rad) lies in."""
    return np.floor((bearings + math.pi) * (count / math.tau)).astype(np.int64) % count


def stopping_m(speed: float, reaction_s: float, deceleration: float) -> float:
    """What a body at `speed` (m/s) still covers: it reacts after `reaction_s` and brakes with `deceleration` (m/s²)."""
    speed = abs(speed)
    return speed * reaction_s + speed * speed / (2.0 * deceleration)


def fastest(free_m: float, reaction_s: float, deceleration: float, margin_m: float) -> float:
    """The speed (m/s) whose stopping distance leaves `margin_m` of `free_m`."""
    room = free_m - margin_m
    if room <= 0.0:
        return 0.0
    if math.isinf(room):
        return math.inf
    return deceleration * (math.sqrt(reaction_s * reaction_s + 2.0 * room / deceleration) - reaction_s)
