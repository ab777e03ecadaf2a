"""The supervisor's own inputs: their ages by arrival and by stamp, and whether they are alive.

A source declared absent in robot.toml is absent; any other that is missing, old, stamped in the future, frozen or
unreadable stops the robot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from model_registry.core.robot import Robot
from stack.supervisor.battery import Battery
from stack.supervisor.clock import STAMP_FUTURE_S, ClockWatch
from stack.supervisor.following import Following
from stack.supervisor.limits import Command
from stack.supervisor.obstacles import around
from stack.supervisor.odometry import STANDSTILL, Odometry, Track, above
from stack.supervisor.repeats import Repeats
from stack.supervisor.scan import Scan
from stack.supervisor.speakers import FrameOfSource, Speakers
from stack.supervisor.state import NONE, Reason

FROZEN_S = 0.5
"""A source that says nothing new for this long, while the robot moves, is frozen; a slow robot is given four times as
long.
"""
_FAST: Command = (0.1, 0.2)
_STALE = {
    "scan": Reason.SCAN_STALE,
    "odom": Reason.ODOM_STALE,
    "battery": Reason.BATTERY_STALE,
    "estop": Reason.ESTOP_STALE,
}
_BAD = {"scan": Reason.SCAN_BAD, "odom": Reason.ODOM_BAD}
_BATTERY_HYSTERESIS = 0.05


class SourceWatch(Protocol):
    """Something that several messages together show of a source."""

    def fault(self, now_s: float) -> str | None:
        """What is wrong at `now_s` (monotonic s), as a sentence, or None."""


class Heard(NamedTuple):
    """The newest message of a source: when it came (monotonic s), how old its stamp was then, what is wrong with it,
    and when something new came last.

    `comparable`: a living sensor would not say it again while the robot moves. `resting`: it says that the robot
    stands, which may be true of a slow one.
    """

    at_s: float
    age_s: float
    fault: str | None
    comparable: bool
    resting: bool
    new_at_s: float


class Moving(NamedTuple):
    """Who has said nothing new since then is frozen: `fast_s` when the robot is told to move fast, `slow_s` when it is
    told to move at all.

    None: it has not been told so for long enough.
    """

    slow_s: float | None
    fast_s: float | None


@dataclass
class SensorSource:
    """One input. `heard` is replaced as a whole, so that another thread sees all of a message or nothing."""

    required: bool
    max_age_s: float
    stamps: bool = True
    heard: Heard | None = None
    frozen_since_s: float | None = None
    """`new_at_s` of what it froze at: it is frozen until it says something else or somebody resets, also while the
    robot stands.
    """
    watches: tuple[SourceWatch, ...] = ()

    def hear(
        self, at_s: float, fault: str | None, age_s: float = 0.0, new: bool | None = None, resting: bool = False
    ) -> None:
        """Note a message. `new`: whether it says something that was not heard before; None when there is nothing to
        compare.
        """
        new_at_s = at_s if new or self.heard is None else self.heard.new_at_s
        self.heard = Heard(at_s, max(0.0, age_s), fault, new is not None, resting, new_at_s)

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

    def fault(self, now_s: float, moving: Moving | None = None) -> str | None:
        """What is wrong now; None when nothing is, or the source is declared absent. With `moving` it is also noted
        when the source froze.
        """
        if (late := self.late(now_s)) or not self.required or self.heard is None:
            return late
        heard = self.heard
        if heard.comparable and moving is not None:
            before = [moving.fast_s] if heard.resting else [moving.slow_s, moving.fast_s]
            if any(before_s is not None and heard.new_at_s <= before_s for before_s in before):
                self.frozen_since_s = heard.new_at_s
        if heard.fault:
            return heard.fault
        if heard.new_at_s == self.frozen_since_s:
            return "frozen"
        return next((fault for watch in self.watches if (fault := watch.fault(now_s))), None)


class Sources:
    """Scan, odometry, battery and e-stop. `scan`, `odom`, `charge` and `estop` only store, and may be called from any
    thread.

    All times are monotonic seconds, but for stamps and `ros_s`, which are ROS time. `publisher` is who sent a
    message, empty where nobody can tell.
    """

    def __init__(self, robot: Robot, clock: ClockWatch) -> None:
        self.all = {name: SensorSource(s.present, s.max_age_ms / 1e3, s.stamps) for name, s in robot.sources.items()}
        self.obstacles = around(robot)
        self.speed: Command | None = None
        self.battery: float | None = None
        self.name_of: Callable[[bytes], str] = bytes.hex
        """How a publisher is called in a fault."""
        self._clock = clock
        self._response_s = robot.base_response_s
        self._moving: dict[bool, float | None] = {True: None, False: None}
        self._battery = Battery(self.all["battery"].max_age_s)
        self._battery_low = False
        self._repeats = Repeats()
        self._track, self._following = Track(robot.limits), Following(robot.base_response_s)
        self._odometry: Odometry | None = None
        self._frames = {name: FrameOfSource() for name in ("scan", "odom")}
        self._speakers = {
            name: Speakers(self.all[name].max_age_s, lambda publisher: self.name_of(publisher)) for name in self._frames
        }
        for name, frame in self._frames.items():
            self.all[name].watches = (self._speakers[name], frame)
        self.all["odom"].watches += (self._track, self._following)

    def scan(self, scan: Scan, now_s: float, ros_s: float, publisher: bytes = b"") -> None:
        if (obstacles := self.obstacles) is None:
            return
        self._speakers["scan"].hear(publisher, now_s)
        self._frames["scan"].hear((scan.frame,))
        fault = obstacles.see(scan, now_s - self._stamped_age_s("scan", scan.stamp_s, ros_s))
        new = None if fault else self._repeats.new(scan)
        self._hear_stamped("scan", scan.stamp_s, fault, new, False, now_s, ros_s)

    def odom(self, odometry: Odometry, now_s: float, ros_s: float, publisher: bytes = b"") -> None:
        """Measured speed and pose. A pose that stands still while the wheels turn is frozen, but for odometry that has
        never had a pose.
        """
        self._speakers["odom"].hear(publisher, now_s)
        self._frames["odom"].hear(odometry.frames)
        new = None
        resting = False
        fault = odometry.impossible
        if fault is None:
            before, self._odometry, self.speed = self._odometry, odometry, odometry.speed
            self._track.hear(odometry, now_s, self.all["odom"].stamps)
            self._following.measure(odometry.speed)
            resting = odometry.stands
            if resting or (odometry.pose is not None and self._track.has_pose):
                new = before is None or before.content != odometry.content
        self._hear_stamped("odom", odometry.stamp_s, fault, new, resting, now_s, ros_s)

    def unreadable(self, name: str, now_s: float, publisher: bytes = b"") -> None:
        """A message came that does not hold what its type says."""
        if name in self._speakers:
            self._speakers[name].hear(publisher, now_s)
        self.all[name].hear(now_s, "cannot be read")

    def charge(self, level: float, now_s: float, pack: bytes = b"") -> None:
        """Battery level 0 to 1; what is no such level is unknown, and unknown is a fault of a battery that is not
        declared absent.

        `pack` tells several batteries on one topic apart; the lowest level counts.
        """
        fault = self._battery.hear(level, now_s, pack)
        self.battery = self._battery.level
        self.all["battery"].hear(now_s, fault)

    def estop(self, at_s: float) -> None:
        """The button that was silent for the longest has spoken last at `at_s`."""
        self.all["estop"].hear(at_s, None)

    def _stamped_age_s(self, name: str, stamp_s: float, ros_s: float) -> float:
        """How old a message is by its stamp; 0 when the stamp cannot be believed."""
        source = self.all[name]
        age_s = ros_s - stamp_s
        return max(0.0, age_s) if source.stamps and age_s <= source.max_age_s else 0.0

    def _hear_stamped(
        self, name: str, stamp_s: float, fault: str | None, new: bool | None, resting: bool, now_s: float, ros_s: float
    ) -> None:
        """A stamp that does not fit is nobody's fault right after the clock was set."""
        source = self.all[name]
        age_s = ros_s - stamp_s
        wrong = source.stamp_fault(age_s)
        if wrong and self._clock.excuses(now_s):
            wrong = None
            age_s = 0.0
        source.hear(now_s, fault or wrong, age_s if source.stamps and not wrong else 0.0, new, resting)

    @property
    def still(self) -> bool:
        """Whether the robot stands by all that odometry says: its twist, also sideways, and its pose."""
        return not self.all["odom"].required or self._track.still

    def speeds(self, commanded: Command) -> tuple[Command, ...]:
        """With what speed the robot may be driving: the larger one of measured and commanded, or both when they point
        in opposite directions.

        Odometry that says too little must not make the way look free.
        """
        measured = self.speed if self.all["odom"].required else None
        if measured is None:
            return (commanded,)
        if measured[0] * commanded[0] < 0.0:
            return measured, commanded
        return (measured if abs(measured[0]) > abs(commanded[0]) else commanded,)

    @property
    def heard_all(self) -> bool:
        return all(source.heard is not None for source in self.all.values() if source.required)

    def thaw(self) -> None:
        """Somebody resets: what was frozen gets another chance, until the robot moves again, and what speaks now is
        what is expected.
        """
        for source in self.all.values():
            source.frozen_since_s = None
        for frame in self._frames.values():
            frame.forget()
        self._battery.forget()

    def _told(self, now_s: float, moving: bool, fast: bool) -> Moving:
        """Since when who says nothing new is frozen, by how long the robot is told to move, or to move fast."""
        before: list[float | None] = []
        for kind, holds, patience_s in ((False, moving, 4 * FROZEN_S), (True, fast, FROZEN_S)):
            since_s = self._moving[kind]
            since_s = now_s if since_s is None else since_s
            self._moving[kind] = since_s if holds else None
            long = holds and now_s - since_s > patience_s + self._response_s
            before.append(now_s - patience_s - self._response_s if long else None)
        return Moving(*before)

    def reasons(self, now_s: float, commanded: Command, battery_floor: float) -> Reason:
        """The reasons that hold now; once a tick. `commanded` is what the robot is told to do."""
        self._following.tell(commanded, now_s)
        moving = above(commanded, STANDSTILL)
        fast = above(commanded, _FAST)
        told = self._told(now_s, moving, fast)
        found = NONE
        for name, source in self.all.items():
            if source.late(now_s):
                found |= _STALE[name]
            elif source.fault(now_s, told):
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
