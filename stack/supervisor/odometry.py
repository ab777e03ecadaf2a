"""One odometry message, and whether its twist and its pose tell the same motion.

    track = Track(robot.limits)
    track.hear(odometry, at_s, stamped=True)  # every message
    track.fault(now_s)  # a sentence with both numbers, or None
    track.still         # whether the pose stands

A twist of 0 beside a pose that moves would tell the supervisor that the robot stands: it would not look for what is
in the way. So the twist is summed up over half a second to four seconds and held against what the pose has changed
by meanwhile, forward (in the body's frame, by the pose's own yaw) and in turning. Both may differ by `_SHARE` of the
larger one and by `_FORWARD_M` or `_TURN_RAD`, for filters that follow late.

A pose that has never changed, or that is all zeros, is not held against anything: such odometry has none. The same
goes for a yaw alone; then the way is compared without a direction. One jump of the pose is a driver or a localiser
that starts anew; the second within `_JUMPS_WITHIN_S` is a fault.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from model_registry.core.robot import Limits
from stack.supervisor.limits import Command

MAX_SPEED = 100.0
"""m/s and rad/s that no robot has (robot.toml allows 20): a driver that says more is wrong."""
_SHARE = 0.4
_FORWARD_M = 0.2
_TURN_RAD = 0.2
_POINT_S = 0.09
_SPANS = (5, 10, 15, 20, 30, 40)
"""Over so many points the two are compared."""
_TOLD_S = 2.0
"""A fault is told for this long after it was seen last, so that somebody can read why the robot stopped."""
_GAP_S = 0.3
_JUMP_M = 0.25
_JUMP_RAD = 0.5
_JUMPS_WITHIN_S = 10.0
STANDSTILL: Command = (0.02, 0.05)
"""What odometry may say of a robot that stands, m/s and rad/s."""
_STILL_POINTS = 3
_STILL_NOISE: Command = (0.02, 0.05)  # m, rad


class Pose(NamedTuple):
    """Of the body in its odometry's frame: metres, and the yaw in rad, None where the message has no orientation."""

    x: float
    y: float
    yaw: float | None


class Odometry(NamedTuple):
    """What is used of nav_msgs/Odometry: ROS seconds, speed (m/s, rad/s), and pose and twist as sent.

    `sideways` (m/s) and the pose, None in a message without one, only tell whether the robot stands, and whether the
    speed is true. The frames are those of pose and twist.
    """

    stamp_s: float
    speed: Command
    content: bytes
    sideways: float = 0.0
    pose: Pose | None = None
    frames: tuple[str, str] = ("", "")

    @property
    def impossible(self) -> str | None:
        """Which of its numbers no robot can have, or None."""
        numbers = (*self.speed, self.sideways)
        if not all(map(math.isfinite, numbers)):
            return "speed is not finite; fix the driver"
        largest = max(numbers, key=abs)
        if abs(largest) > MAX_SPEED:
            return f"a speed of {largest:.3g} is none of a robot; fix the driver"
        if self.pose is not None and not (math.isfinite(self.pose.x) and math.isfinite(self.pose.y)):
            return "pose is not finite; fix the driver"
        return None

    @property
    def stands(self) -> bool:
        """Whether its twist is that of a robot that stands."""
        return not above(self.speed, STANDSTILL) and abs(self.sideways) <= STANDSTILL[0]


def above(speed: Command, threshold: Command) -> bool:
    """Whether one of the two speeds is larger than its threshold, without sign."""
    return abs(speed[0]) > threshold[0] or abs(speed[1]) > threshold[1]


def pose_of(x: float, y: float, z: float, qx: float, qy: float, qz: float, qw: float) -> Pose | None:
    """The pose of position (m) and orientation; None when nobody has filled it in: all zeros, with or without the
    quaternion of no turn.
    """
    if not any((x, y, z, qx, qy, qz)) and qw in (0.0, 1.0):
        return None
    if not 0.9 <= qx * qx + qy * qy + qz * qz + qw * qw <= 1.1:
        return Pose(x, y, None)
    return Pose(x, y, math.atan2(2.0 * (qw * qz + qx * qy), 1.0 - 2.0 * (qy * qy + qz * qz)))


class _Point(NamedTuple):
    """Sums up to one moment: by the twist `forward` (m), `way` (m, without sign) and `turn` (rad), the same by the
    pose, and where it led to.
    """

    at_s: float
    forward: float
    way: float
    turn: float
    pose_forward: float
    pose_turn: float
    x: float
    y: float


_START = _Point(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Track:
    """What one robot's odometry has said in the last seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: tuple[Odometry, float] | None = None
        self._now = _START
        self._points: deque[_Point] = deque([_START], maxlen=_SPANS[-1])
        self._usual_s = 0.0
        self._moves = self._turns = False
        """Whether the pose has ever changed, and its yaw."""
        self._turned_rad = 0.0
        self._rests: _Point | None = None
        """Where it was when the twist began to say that it stands."""
        self._jumped_s = -math.inf
        self._fault: str | None = None
        self._told_until_s = -math.inf

    def hear(self, odometry: Odometry, at_s: float, stamped: bool) -> None:
        """Take a message that has arrived at `at_s` (monotonic s). Times between messages are those of their stamps
        where these fit.
        """
        before = self._last
        self._last = (odometry, at_s)
        if before is None:
            self._restart(odometry)
            return
        last, last_s = before
        if last.pose is None or odometry.pose is None:
            self._restart(odometry)
            return
        passed_s = _passed_s(odometry.stamp_s - last.stamp_s if stamped else math.nan, at_s - last_s)
        self._usual_s = passed_s if self._usual_s == 0.0 else self._usual_s + 0.1 * (passed_s - self._usual_s)
        dx = odometry.pose.x - last.pose.x
        dy = odometry.pose.y - last.pose.y
        turn = _between(last.pose.yaw, odometry.pose.yaw)
        self._moves |= (dx, dy) != (0.0, 0.0)
        self._turns |= turn != 0.0
        self._turned_rad += abs(odometry.speed[1]) * passed_s
        if passed_s > max(_GAP_S, 3.0 * self._usual_s):
            self._restart(odometry)
        elif self._jumps(math.hypot(dx, dy), abs(turn), passed_s):
            self._jump(math.hypot(dx, dy), turn, at_s)
            self._restart(odometry)
        else:
            self._add(last, odometry, passed_s, (dx, dy, turn))
            if self._now.at_s - self._points[-1].at_s >= _POINT_S:
                self._look(at_s)
                self._points.append(self._now)

    def _restart(self, odometry: Odometry) -> None:
        self._now = _START
        self._rests = self._now if odometry.stands else None
        self._points.clear()
        self._points.append(self._now)

    def _jumps(self, way: float, turn: float, passed_s: float) -> bool:
        limits = self._limits
        far = way > _JUMP_M + (2.0 * limits.linear + 0.5) * passed_s
        return far or turn > _JUMP_RAD + (2.0 * limits.angular + 1.0) * passed_s

    def _jump(self, way: float, turn: float, at_s: float) -> None:
        if at_s - self._jumped_s < _JUMPS_WITHIN_S:
            self._tell(f"pose jumps: {way:.3g} m and {turn:.3g} rad at once, and not for the first time", at_s)
        self._jumped_s = at_s

    def _add(self, last: Odometry, odometry: Odometry, passed_s: float, change: tuple[float, float, float]) -> None:
        """Sum up one interval: the twist by its mean, the change of the pose (m, m, rad) in the frame of a body half
        way through its turn.
        """
        dx, dy, turn = change
        yaw = None if last.pose is None else last.pose.yaw
        heading = (yaw or 0.0) + turn / 2.0
        forward = 0.5 * (last.speed[0] + odometry.speed[0]) * passed_s
        now = self._now
        self._now = _Point(
            at_s=now.at_s + passed_s,
            forward=now.forward + forward,
            way=now.way + abs(forward),
            turn=now.turn + 0.5 * (last.speed[1] + odometry.speed[1]) * passed_s,
            pose_forward=now.pose_forward + dx * math.cos(heading) + dy * math.sin(heading),
            pose_turn=now.pose_turn + turn,
            x=now.x + dx,
            y=now.y + dy,
        )
        if not odometry.stands:
            self._rests = None
        elif self._rests is None:
            self._rests = self._now

    def _look(self, at_s: float) -> None:
        """Hold twist and pose against each other over every span."""
        if not self._moves and not self._turns:
            return
        for span in _SPANS:
            wrong = self._compare(self._points[-span]) if len(self._points) >= span else None
            if wrong:
                self._tell(wrong, at_s)
                self._points.clear()  # what has been told once is not held against a driver that is put right
                return

    def _compare(self, then: _Point) -> str | None:
        now = self._now
        passed_s = self._now.at_s - then.at_s
        forward = now.forward - then.forward
        pose_forward = now.pose_forward - then.pose_forward
        turn = now.turn - then.turn
        pose_turn = now.pose_turn - then.pose_turn
        if self._turns and _differ(turn, pose_turn, _TURN_RAD):
            return _sentence(turn, pose_turn, passed_s, "rad/s")
        if not self._moves:
            return None
        if not self._has_yaw:
            # Only a twist that is too small can be told: a way may be longer than the straight line, and never shorter.
            forward = now.way - then.way
            pose_forward = max(forward, math.hypot(now.x - then.x, now.y - then.y))
        return _sentence(forward, pose_forward, passed_s, "m/s") if _differ(forward, pose_forward, _FORWARD_M) else None

    @property
    def _has_yaw(self) -> bool:
        """Whether the yaw is one: a robot that has turned while its yaw stood still has none."""
        pose = None if self._last is None else self._last[0].pose
        return pose is not None and pose.yaw is not None and (self._turns or self._turned_rad <= _TURN_RAD)

    def _tell(self, fault: str, at_s: float) -> None:
        self._fault = fault
        self._told_until_s = at_s + _TOLD_S

    def fault(self, now_s: float) -> str | None:
        return self._fault if now_s < self._told_until_s else None

    @property
    def has_pose(self) -> bool:
        """Whether the pose has ever changed."""
        return self._moves or self._turns

    @property
    def still(self) -> bool:
        """Whether twist and pose stand: the pose for the last three tenths of a second, or since the twist says so."""
        if self._rests is None:
            return self._last is None
        then = max(self._rests, self._points[-min(len(self._points), _STILL_POINTS)])
        passed_s = self._now.at_s - then.at_s
        way = math.hypot(self._now.x - then.x, self._now.y - then.y)
        turn = abs(self._now.pose_turn - then.pose_turn)
        return way <= _STILL_NOISE[0] + STANDSTILL[0] * passed_s and turn <= _STILL_NOISE[1] + STANDSTILL[1] * passed_s


def _passed_s(stamped_s: float, arrived_s: float) -> float:
    """The time between two messages by their stamps, and by their arrival where that is missing or cannot be."""
    return stamped_s if 0.0 < stamped_s < arrived_s + _GAP_S else arrived_s


def _between(before: float | None, after: float | None) -> float:
    """By how much a yaw has changed, in (-pi, pi]; 0 where one is missing."""
    return 0.0 if before is None or after is None else math.remainder(after - before, math.tau)


def _differ(one: float, other: float, least: float) -> bool:
    return abs(one - other) > least + _SHARE * max(abs(one), abs(other))


def _sentence(twist: float, pose: float, passed_s: float, unit: str) -> str:
    passed_s = max(passed_s, 1e-3)
    return (
        f"contradicts itself: a twist of {twist / passed_s:.3g} {unit} "
        f"while the pose moves {pose / passed_s:.3g} {unit}; fix the driver"
    )
