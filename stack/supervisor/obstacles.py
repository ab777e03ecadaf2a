"""Where the way is free: what one laser scan shows around the body, and how far the body can be swept through it.

This is the supervisor's own reading of the scan, written apart from the one that feeds the network. The body is moved along the commanded arc, pose by
pose, and touches what comes into its outline. What cannot be seen is not free: the way ends where it leads into a direction with too few readable
beams. A beam without an echo (+inf, or beyond the scanner's range) is free; one that is NaN, zero or below the scanner's range says nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.core.robot import Footprint, Lidar
from stack.supervisor.limits import Command
from stack.supervisor.scan import Scan, contradiction

Floats = NDArray[np.float64]

_VIEWS = 72
"""Directions that are seen or not: 5 degrees each, so that a scanner with 90 beams has one in each."""
_POSES = 40
_PAD_M = 0.02
"""What comes this near to the outline touches it."""
_CLOSER_M = 1e-6  # from one pose to the next; a wall along the way does not come closer
_LOOK_M = (0.3, 1.0)  # along the way: it must be seen from there on, as far as that at least
_SLOWEST = 1e-3  # m/s: a slower body bends as this one does


class Obstacles:
    """The newest scan around a body; points are in the body's frame, metres, x to the front and y to the left."""

    def __init__(self, footprint: Footprint, lidar: Lidar) -> None:
        self._body, self._lidar = footprint, lidar
        self._beams: tuple[tuple[int, float, float], Floats, Floats, NDArray[np.int64]] | None = None
        self._x = self._y = self._distance = np.zeros(0)
        self._seen = np.zeros(_VIEWS, dtype=bool)
        self.nearest_m: float | None = None
        """From the point the body turns about to the nearest thing; None when nothing is there."""

    def see(self, scan: Scan) -> str | None:
        """Take a scan; what is wrong with it, or None."""
        if wrong := contradiction(scan):
            return wrong
        cos, sin, views = self._directions(scan)
        ranges = scan.ranges.astype(np.float64)
        touching = np.isneginf(ranges)  # nearer than the scanner can tell, by its own word
        ranges[touching] = scan.range_min
        hit = np.isfinite(ranges) & (ranges >= scan.range_min) & (ranges <= scan.range_max)
        readable = hit | (ranges > scan.range_max) | np.isposinf(ranges)
        count, beams = int(np.count_nonzero(readable)), ranges.size
        if count < self._lidar.min_valid * beams:
            return f"is blind: {count} of {beams} beams readable, {self._lidar.min_valid:.0%} needed"
        of_view = np.bincount(views, minlength=_VIEWS)
        self._seen = (of_view > 0) & (2 * np.bincount(views[readable], minlength=_VIEWS) >= of_view)
        self._x, self._y = self._lidar.x + ranges[hit] * cos[hit], self._lidar.y + ranges[hit] * sin[hit]
        self._distance = np.hypot(self._x, self._y)
        self.nearest_m = float(self._distance.min()) if self._distance.size else None
        return None

    def _directions(self, scan: Scan) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Cosine, sine and view of every beam in the body's frame, kept while the scanner stays as it is."""
        shape = (scan.ranges.size, scan.angle_min, scan.angle_increment)
        if self._beams is None or self._beams[0] != shape:
            angles = self._lidar.yaw + scan.angle_min + scan.angle_increment * np.arange(scan.ranges.size)
            self._beams = (shape, np.cos(angles), np.sin(angles), _view(angles))
        return self._beams[1:]

    def free_m(self, command: Command, horizon_m: float) -> float:
        """How far the body can go along the path of `command` (m/s, rad/s) before it touches something or cannot see; inf: beyond `horizon_m`.

        A body that touches something already may go away from it.
        """
        linear, angular = command
        if linear == 0.0:
            return math.inf
        sign, bend = math.copysign(1.0, linear), angular / math.copysign(max(abs(linear), _SLOWEST), linear)
        return min(self._touch_m(sign, bend, horizon_m), self._blind_m(sign, bend, horizon_m))

    def _touch_m(self, sign: float, bend: float, horizon_m: float) -> float:
        """Where the body touches something first: looked for in `_POSES` steps, and again within the step that leads there."""
        if np.any((self._gap(self._x, self._y) < -_PAD_M) & (sign * self._x > 0.0)):
            return 0.0  # seen inside of the outline: in the way of whoever goes to that side
        start_m, step_m = 0.0, horizon_m
        for _ in range(2):
            way = sign * np.linspace(start_m, start_m + step_m, _POSES + 1)
            share = self._first(way, bend * way)
            if share is None:
                return math.inf if start_m == 0.0 else start_m
            start_m, step_m = start_m + share * step_m, step_m / _POSES
        return start_m

    def may_turn(self, angular: float, angle: float) -> bool:
        """Whether a body that is not round has room to turn on the spot by `angle` (rad, without sign) in the direction of `angular`."""
        if self._body.round or angular == 0.0:
            return True
        turns = math.copysign(1.0, angular) * np.linspace(0.0, min(angle, math.pi), _POSES + 1)
        return self._first(np.zeros_like(turns), turns) is None

    def _first(self, way: Floats, turns: Floats) -> float | None:
        """Up to which share of its way (m) and its turning (rad) the body touches nothing; None: to the end."""
        body = self._body
        reach = body.half_width if body.round else math.hypot(max(body.front, body.rear), body.half_width)
        near = self._distance <= abs(way[-1]) + reach + _PAD_M
        if not near.any():
            return None
        x, y = _poses(way, turns)
        cos, sin = np.cos(turns)[:, None], np.sin(turns)[:, None]
        dx, dy = self._x[near] - x[:, None], self._y[near] - y[:, None]
        gaps = self._gap(dx * cos + dy * sin, dy * cos - dx * sin)  # [poses, points]
        touched = (gaps[1:] < _PAD_M) & (gaps[1:] < gaps[:-1] - _CLOSER_M)
        poses = np.flatnonzero(touched.any(axis=1))
        return float(poses[0]) / (len(way) - 1) if poses.size else None

    def _gap(self, x: Floats, y: Floats) -> Floats:
        """Distance (m) of points in the body's frame from its outline, negative inside."""
        body = self._body
        if body.round:
            gap: Floats = np.hypot(x, y) - body.half_width
            return gap
        aside_x = np.abs(x - (body.front - body.rear) / 2) - (body.front + body.rear) / 2
        aside_y = np.abs(y) - body.half_width
        outside = np.hypot(np.maximum(aside_x, 0.0), np.maximum(aside_y, 0.0))
        return np.asarray(outside + np.minimum(np.maximum(aside_x, aside_y), 0.0))

    def _blind_m(self, sign: float, bend: float, horizon_m: float) -> float:
        """How far along the way every direction it leads to is seen: its middle all along, both edges at its end."""
        way = sign * np.linspace(_LOOK_M[0], max(horizon_m, _LOOK_M[1]), _POSES)
        turns = bend * way
        x, y = _poses(way, turns)
        edge = np.array([-1.0, 1.0]) * self._body.half_width
        ends = x[-1] - edge * math.sin(turns[-1]), y[-1] + edge * math.cos(turns[-1])
        seen = self._seen[_view(np.arctan2(y - self._lidar.y, x - self._lidar.x))]
        seen_ends = self._seen[_view(np.arctan2(ends[1] - self._lidar.y, ends[0] - self._lidar.x))]
        blank = np.flatnonzero(~seen)
        if blank.size:
            return abs(float(way[blank[0]])) if blank[0] else 0.0
        return math.inf if seen_ends.all() else 0.0


def _poses(way: Floats, turns: Floats) -> tuple[Floats, Floats]:
    """Where a body is after arcs of `way` (m) over which it has turned `turns` (rad)."""
    half = turns / 2
    chord = way * np.sinc(half / math.pi)
    return chord * np.cos(half), chord * np.sin(half)


def _view(bearings: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Which of the views each bearing (rad) lies in."""
    views: NDArray[np.int64] = np.floor((bearings + math.pi) * (_VIEWS / math.tau)).astype(np.int64) % _VIEWS
    return views


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
