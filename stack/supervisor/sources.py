"""The supervisor's own inputs: their ages by arrival and by stamp, and whether they are alive.

A source declared absent in robot.toml is absent; any other that is missing, old, stamped in the future, frozen or unreadable stops the robot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from model_registry.core.robot import Robot
from stack.supervisor.clock import STAMP_FUTURE_S, ClockWatch
from stack.supervisor.limits import Command
from stack.supervisor.obstacles import Obstacles, Scan, stopping_m
from stack.supervisor.state import NONE, Reason

FROZEN_S = 0.5
"""A source that repeats itself to the bit for this long, while the robot moves, is frozen; a slow robot is given four times as long."""
_STALE = {
    "scan": Reason.SCAN_STALE,
    "odom": Reason.ODOM_STALE,
    "battery": Reason.BATTERY_STALE,
    "estop": Reason.ESTOP_STALE,
}
_BAD = {"scan": Reason.SCAN_BAD, "odom": Reason.ODOM_BAD}
_BATTERY_HYSTERESIS = 0.05
_LONGEST_REACTION_S = 1.0


class Heard(NamedTuple):
    """The newest message of a source: when it came (monotonic s), how old its stamp was then, what is wrong with it, and since when it says the same."""

    at_s: float
    age_s: float
    fault: str | None
    content: bytes
    same_since_s: float


@dataclass
class Source:
    """One input. `heard` is replaced as a whole, so that another thread sees all of a message or nothing."""

    required: bool
    max_age_s: float
    stamps: bool = True
    heard: Heard | None = None
    frozen_since_s: float | None = None
    """`same_since_s` of what it froze at: it is frozen until it says something else or somebody resets, also while the robot stands."""

    def hear(self, at_s: float, fault: str | None, age_s: float = 0.0, content: bytes = b"") -> None:
        """Note a message. `content` is what a living sensor never repeats while the robot moves; empty when there is nothing to compare."""
        last = self.heard
        same = last is not None and last.content == content
        self.heard = Heard(
            at_s, max(0.0, age_s), fault, content, last.same_since_s if last is not None and same else at_s
        )

    def stamp_fault(self, age_s: float) -> str | None:
        """What is wrong with a stamp of this age."""
        if not self.stamps or -STAMP_FUTURE_S <= age_s <= self.max_age_s:
            return None
        return "stamped in the future" if age_s < 0 else "stamped too long ago"

    def age_s(self, now_s: float) -> float:
        """How old what it says is, by arrival and by stamp; 0 before the first message."""
        return 0.0 if self.heard is None else max(0.0, now_s - self.heard.at_s) + self.heard.age_s

    def late(self, now_s: float) -> str | None:
        """Whether it is missing now."""
        if not self.required:
            return None
        if self.heard is None:
            return "never heard"
        return "too old" if self.age_s(now_s) > self.max_age_s else None

    def fault(self, now_s: float, frozen_before_s: float | None = None) -> str | None:
        """What is wrong now; None when nothing is, or the source is declared absent.

        `frozen_before_s`: whoever says the same since then, or longer, is frozen.
        """
        if (late := self.late(now_s)) or not self.required or self.heard is None:
            return late
        since_s = self.heard.same_since_s
        if self.heard.content and frozen_before_s is not None and since_s <= frozen_before_s:
            self.frozen_since_s = since_s
        return self.heard.fault or ("frozen" if since_s == self.frozen_since_s else None)


class Sources:
    """Scan, odometry, battery and e-stop. `scan`, `odom`, `charge` and `estop` only store, and may be called from any thread.

    All times are monotonic seconds, but for stamps and `ros_s`, which are ROS time.
    """

    def __init__(self, robot: Robot, clock: ClockWatch) -> None:
        self.all = {name: Source(s.present, s.max_age_ms / 1e3, s.stamps) for name, s in robot.sources.items()}
        self.obstacles = _obstacles(robot)
        self.speed: Command | None = None
        self.battery: float | None = None
        self.estop_pressed = False
        self._clock = clock
        self._response_s = robot.base_response_s
        self._moving: dict[bool, float | None] = {True: None, False: None}
        self._battery_low = False

    def scan(self, scan: Scan, now_s: float, ros_s: float) -> None:
        if (obstacles := self.obstacles) is None:
            return
        blind = obstacles.see(scan, now_s - self._stamped_age_s("scan", scan.stamp_s, ros_s))
        # A scan without a single echo may well be the same twice: there is nothing around.
        content = scan.ranges.tobytes() if obstacles.echoes else b""
        self._hear_stamped("scan", scan.stamp_s, blind, content, now_s, ros_s)

    def odom(self, speed: Command, stamp_s: float, content: bytes, now_s: float, ros_s: float) -> None:
        """Measured speed, m/s and rad/s. `content` are pose and twist as sent: a pose that stands still while the wheels turn is frozen."""
        fault = None if math.isfinite(speed[0] + speed[1]) else "speed is not finite"
        if fault is None:
            self.speed = speed
        self._hear_stamped("odom", stamp_s, fault, content, now_s, ros_s)

    def unreadable(self, name: str, now_s: float) -> None:
        """A message came that does not hold what its type says."""
        self.all[name].hear(now_s, "cannot be read")

    def charge(self, level: float, now_s: float) -> None:
        """Battery level 0 to 1; anything else, such as NaN or percent, is unknown, and unknown is a fault of a battery that is not declared absent."""
        known = 0.0 <= level <= 1.0
        self.battery = level if known else None
        self.all["battery"].hear(now_s, None if known else "level is not known")

    def estop(self, pressed: bool, now_s: float) -> None:
        self.estop_pressed = pressed
        self.all["estop"].hear(now_s, None)

    def _stamped_age_s(self, name: str, stamp_s: float, ros_s: float) -> float:
        """How old a message is by its stamp; 0 when the stamp cannot be believed."""
        source, age_s = self.all[name], ros_s - stamp_s
        return max(0.0, age_s) if source.stamps and age_s <= source.max_age_s else 0.0

    def _hear_stamped(
        self, name: str, stamp_s: float, fault: str | None, content: bytes, now_s: float, ros_s: float
    ) -> None:
        """A stamp that does not fit is nobody's fault right after the clock was set."""
        source, age_s = self.all[name], ros_s - stamp_s
        wrong = source.stamp_fault(age_s)
        if wrong and self._clock.excuses(now_s):
            wrong, age_s = None, 0.0
        source.hear(now_s, fault or wrong, age_s if source.stamps and not wrong else 0.0, content)

    @property
    def heard_all(self) -> bool:
        return all(source.heard is not None for source in self.all.values() if source.required)

    def thaw(self) -> None:
        """Somebody resets: what was frozen gets another chance, until the robot moves again."""
        for source in self.all.values():
            source.frozen_since_s = None

    def _frozen_before_s(self, now_s: float, moving: bool, fast: bool) -> float | None:
        """Who says the same since then is frozen, by how long the robot is told to move, or to move fast; None: nobody can tell."""
        for kind, holds in ((False, moving), (True, fast)):
            since_s = self._moving[kind]
            self._moving[kind] = (now_s if since_s is None else since_s) if holds else None
        before = [
            now_s - patience_s
            for kind, patience_s in ((True, FROZEN_S + self._response_s), (False, 4 * FROZEN_S + self._response_s))
            if (since_s := self._moving[kind]) is not None and now_s - since_s > patience_s
        ]
        return max(before, default=None)

    def reasons(self, now_s: float, moving: bool, fast: bool, battery_floor: float) -> Reason:
        """The reasons that hold now. `moving`, `fast`: what the robot is told to do."""
        frozen_before_s = self._frozen_before_s(now_s, moving, fast)
        found = NONE
        for name, source in self.all.items():
            if source.late(now_s):
                found |= _STALE[name]
            elif source.fault(now_s, frozen_before_s):
                found |= _BAD.get(name, _STALE[name])
        level = self.battery
        if self.all["battery"].required and level is not None:
            self._battery_low = level < battery_floor + _BATTERY_HYSTERESIS * self._battery_low
            found |= Reason.BATTERY_LOW if self._battery_low else NONE
        return found

    def document(self, now_s: float) -> dict[str, object]:
        """What `status` says of every source."""
        return {
            name: {
                "required": source.required,
                "age_ms": None if source.heard is None else round(max(0.0, now_s - source.heard.at_s) * 1e3, 1),
                "max_age_ms": source.max_age_s * 1e3,
                "fault": source.fault(now_s),
            }
            for name, source in self.all.items()
        }


def _obstacles(robot: Robot) -> Obstacles | None:
    """Things are remembered as far around the body as they can matter to a robot at full speed."""
    if robot.footprint is None:
        return None
    limits = robot.limits
    kept_m = stopping_m(limits.linear, _LONGEST_REACTION_S, limits.linear_acceleration) + robot.safety.margin
    return Obstacles(robot.footprint, robot.lidar, robot.safety.margin, kept_m)
