"""Where the way is free: what the laser scans show around the body, and how far the body can be swept through it.

This is the supervisor's own reading of the scan, written apart from the one that feeds the network. The body is moved
along a path, pose by pose, and touches what comes into its outline: what the newest scan shows, and what is remembered
of earlier ones (memory.py), both moved by what the body has gone since. What cannot be seen is not free: the way ends
where it leads into a direction with too few readable beams. A beam without an echo (+inf, or beyond the scanner's
range) is free; one that is NaN, zero or below the scanner's range says nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.core.robot import Footprint, Lidar, Robot
from stack.supervisor.limits import Command
from stack.supervisor.memory import Beams, Memory
from stack.supervisor.paths import Path, arc
from stack.supervisor.reckoning import BodyPose, Floats, Reckoning
from stack.supervisor.scan import Scan, contradiction

_VIEWS = 72
"""Directions that are seen or not: 5 degrees each, so that a scanner with 90 beams has one in each."""
_POSES = 40
_PAD_M = 0.02
"""What comes this near to the outline touches it."""
_CLOSER_M = 1e-6  # from one pose to the next; a wall along the way does not come closer
_SIGHT_M = 0.3  # along the way: it must be seen from there on
LOOK_M = 1.0
"""As far as that at least, along the way, it must be seen."""
_SLOWEST = 1e-3  # m/s: a slower body bends as this one does
_KEPT_M = 1.0
_LONGEST_REACTION_S = 1.0


class Obstacles:
    """What is around a body: the newest scan, and what is remembered of those before.

    Points are in the body's frame, metres, x to the front and y to the left. `see` takes a scan; `move` says how the
    body has moved since, and is called once a tick. A scanner whose shortest range reaches farther than `margin_m`
    beyond the body is refused: what stands there at the start is never seen. Things are remembered within `kept_m`
    around the body.
    """

    def __init__(self, footprint: Footprint, lidar: Lidar, margin_m: float = math.inf, kept_m: float = _KEPT_M) -> None:
        self._body = footprint
        self._lidar = lidar
        self._margin_m = margin_m
        self._reach = footprint.half_width if footprint.round else _corner(footprint)
        self._kept_m = self._reach + kept_m
        self._beams: tuple[tuple[int, float, float, float], Floats, Floats, NDArray[np.int64], float] | None = None
        self._reckoning, self._memory = Reckoning(), Memory()
        self._places = np.zeros((2, 0))  # in the frame of the track
        self._x = self._y = self._distance = np.zeros(0)
        self._seen = np.zeros(_VIEWS, dtype=bool)
        self._sees_all = False
        self._looked_from = BodyPose()
        self.echoes = False
        """Whether the newest scan shows anything at all."""
        self.nearest_m: float | None = None
        """From the point the body turns about to the nearest thing, seen or remembered; None when nothing is there."""

    def see(self, scan: Scan, taken_s: float | None = None) -> str | None:
        """Take a scan of a time (monotonic s; None: now); what is wrong with it, or None."""
        if wrong := contradiction(scan):
            return wrong
        cos, sin, views, blind_m = self._directions(scan)
        if blind_m > self._margin_m + _CLOSER_M:
            return (
                f"sees nothing within range_min = {scan.range_min:.2f} m, which reaches {blind_m:.2f} m beyond the "
                f"body, and safety.margin is {self._margin_m:.2f} m; raise safety.margin or use a scanner that sees "
                "nearer"
            )
        ranges = scan.ranges.astype(np.float64)
        touching = np.isneginf(ranges)  # nearer than the scanner can tell, by its own word
        ranges[touching] = scan.range_min
        hit = np.isfinite(ranges) & (ranges >= scan.range_min) & (ranges <= scan.range_max)
        free = (ranges > scan.range_max) | np.isposinf(ranges)
        readable = hit | free
        count = int(np.count_nonzero(readable))
        beams = ranges.size
        if count < self._lidar.min_valid * beams:
            return f"is blind: {count} of {beams} beams readable, {self._lidar.min_valid:.0%} needed"
        of_view = np.bincount(views, minlength=_VIEWS)
        self._seen = (of_view > 0) & (2 * np.bincount(views[readable], minlength=_VIEWS) >= of_view)
        self._sees_all, self.echoes = bool(self._seen.all()), bool(hit.any())
        now_s = self._reckoning.now_s if taken_s is None else taken_s
        self._looked_from = self._reckoning.at(now_s)
        told = np.append(np.where(free, math.inf, np.where(hit, ranges, math.nan)), math.nan)
        points = self._lidar.x + ranges[hit] * cos[hit], self._lidar.y + ranges[hit] * sin[hit]
        self._remember(Beams(told, scan.angle_min, scan.angle_increment, scan.range_min), points, hit, now_s)
        return None

    def _remember(self, beams: Beams, points: tuple[Floats, Floats], hit: NDArray[np.bool_], now_s: float) -> None:
        """The points of a scan, and those before it that it does not speak of."""
        memory = self._memory
        pose = self._looked_from
        x, y = pose.out((np.array([self._lidar.x]), np.array([self._lidar.y])))
        memory.look(
            beams,
            BodyPose(float(x[0]), float(y[0]), pose.heading + self._lidar.yaw),
            now_s,
            self._reckoning.travelled_m,
        )
        x, y = pose.into(memory.points)
        distance = np.hypot(x, y)
        memory.keep((distance <= self._kept_m) & (self._gap(x, y) > -_PAD_M), distance)
        places = pose.out(points)
        near = np.hypot(*points) <= self._kept_m
        memory.note((places[0][near], places[1][near]), beams.widths()[hit][near], now_s, self._reckoning.travelled_m)
        self._places = np.concatenate((np.stack(places), np.stack(memory.points)), axis=1)
        self._place()

    def move(self, speed: Command, now_s: float) -> None:
        """The body has had this speed (m/s, rad/s) since the last call, by what is known of it."""
        self._reckoning.move(speed, now_s)
        self._place()

    def _place(self) -> None:
        """Where everything is now, in the body's frame."""
        self._x, self._y = self._reckoning.pose.into((self._places[0], self._places[1]))
        self._distance = np.hypot(self._x, self._y)
        self.nearest_m = float(self._distance.min()) if self._distance.size else None

    def _directions(self, scan: Scan) -> tuple[Floats, Floats, NDArray[np.int64], float]:
        """Cosine, sine and view of every beam in the body's frame, and how far beyond the body nothing is seen.

        Kept while the scanner stays as it is.
        """
        shape = (scan.ranges.size, scan.angle_min, scan.angle_increment, scan.range_min)
        if self._beams is None or self._beams[0] != shape:
            angles = self._lidar.yaw + scan.angle_min + scan.angle_increment * np.arange(scan.ranges.size)
            cos = np.cos(angles)
            sin = np.sin(angles)
            blind = self._gap(self._lidar.x + scan.range_min * cos, self._lidar.y + scan.range_min * sin)
            self._beams = (shape, cos, sin, _view(angles), float(blind.max()))
        return self._beams[1:]

    def free_m(self, command: Command, horizon_m: float) -> float:
        """How far the body can go along the arc of `command` (m/s, rad/s) before it touches something or cannot see.

        inf: beyond `horizon_m`. A body that touches something already may go away from it.
        """
        linear, angular = command
        if linear == 0.0:
            return math.inf
        sign, bend = _course(linear, angular)
        return min(self._touch_m(sign, bend, horizon_m), self._blind_m(sign, bend, horizon_m))

    def sight_m(self, command: Command, horizon_m: float) -> float:
        """How far along the path of `command` (m/s, rad/s, not standing) the body can see; inf: beyond `horizon_m`."""
        return self._blind_m(*_course(*command), horizon_m)

    def _touch_m(self, sign: float, bend: float, horizon_m: float) -> float:
        """Where the body touches something first: looked for in steps, and again within the step that leads there."""
        if not self.anything_within(horizon_m):
            return math.inf
        if self._inside(sign):
            return 0.0
        # After a whole circle it meets nothing new. A corner moves more than the body's middle does.
        start_m = 0.0
        length_m = min(horizon_m, math.tau / max(abs(bend), 1e-9))
        outer_m = 0.0 if self._body.round else length_m * abs(bend) * self._reach
        for steps in (max(_POSES, math.ceil((length_m + outer_m) / _PAD_M)), _POSES):
            way = sign * np.linspace(start_m, start_m + length_m, steps + 1)
            pose = self._first(arc(way, bend * way))
            if pose is None:
                return math.inf if start_m == 0.0 else start_m
            length_m /= steps
            start_m += pose * length_m
        return start_m

    def may_turn(self, angular: float, angle: float) -> bool:
        """Whether a body that is not round has room to turn on the spot.

        By `angle` (rad, without sign) in the direction of `angular`.
        """
        if self._body.round or angular == 0.0:
            return True
        turns = math.copysign(1.0, angular) * np.linspace(0.0, min(angle, math.pi), _POSES + 1)
        return self._first(arc(np.zeros_like(turns), turns)) is None

    def anything_within(self, way_m: float) -> bool:
        """Whether a body that goes `way_m` can touch anything, wherever it goes."""
        return self.nearest_m is not None and self.nearest_m <= way_m + self._reach + _PAD_M

    def free_along(self, path: Path) -> float:
        """How far along a path (m) the body touches nothing; inf: to its end."""
        if not self.anything_within(path.way[-1]):
            return math.inf
        if self._inside(1.0 if path.x[1] > 0.0 else -1.0):
            return 0.0
        pose = self._first(path)
        return math.inf if pose is None else float(path.way[pose])

    def _inside(self, sign: float) -> bool:
        """Whether something is seen inside of the outline: in the way of whoever goes to that side."""
        if not self.anything_within(0.0):
            return False
        return bool(np.any((self._gap(self._x, self._y) < -_PAD_M) & (sign * self._x > 0.0)))

    def _first(self, path: Path) -> int | None:
        """The last pose of a path up to which the body touches nothing; None: the whole path is free."""
        near = self._distance <= path.way[-1] + self._reach + _PAD_M
        if not near.any():
            return None
        x = path.x
        y = path.y
        cos = np.cos(path.turns)[:, None]
        sin = np.sin(path.turns)[:, None]
        dx = self._x[near] - x[:, None]
        dy = self._y[near] - y[:, None]
        gaps = self._gap(dx * cos + dy * sin, dy * cos - dx * sin)  # [poses, points]
        touched = (gaps[1:] < _PAD_M) & (gaps[1:] < gaps[:-1] - _CLOSER_M)
        poses = np.flatnonzero(touched.any(axis=1))
        return int(poses[0]) if poses.size else None

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
        """How far along the way every direction it leads to is seen: its middle all along, its edges at the end."""
        if self._sees_all:
            return math.inf
        way = sign * np.linspace(_SIGHT_M, max(horizon_m, LOOK_M), _POSES)
        turns = bend * way
        _, x, y, _ = arc(way, turns)
        edge = np.array([-1.0, 1.0]) * self._body.half_width
        ends = x[-1] - edge * math.sin(turns[-1]), y[-1] + edge * math.cos(turns[-1])
        turned = self._reckoning.pose.heading - self._looked_from.heading
        seen = self._seen[_view(turned + np.arctan2(y - self._lidar.y, x - self._lidar.x))]
        seen_ends = self._seen[_view(turned + np.arctan2(ends[1] - self._lidar.y, ends[0] - self._lidar.x))]
        blank = np.flatnonzero(~seen)
        if blank.size:
            return abs(float(way[blank[0]])) if blank[0] else 0.0
        return math.inf if seen_ends.all() else 0.0


def _course(linear: float, angular: float) -> tuple[float, float]:
    """Forward (1) or backward (-1), and how much the path bends (rad/m)."""
    sign = math.copysign(1.0, linear)
    return sign, angular / (sign * max(abs(linear), _SLOWEST))


def _corner(body: Footprint) -> float:
    """From the point the body turns about to its farthest corner."""
    return math.hypot(max(body.front, body.rear), body.half_width)


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


def around(robot: Robot) -> Obstacles | None:
    """Things are remembered as far around the body as they can matter to a robot at full speed."""
    if robot.footprint is None:
        return None
    limits = robot.limits
    kept_m = stopping_m(limits.linear, _LONGEST_REACTION_S, limits.linear_acceleration) + robot.safety.margin
    return Obstacles(robot.footprint, robot.lidar, robot.safety.margin, kept_m)
