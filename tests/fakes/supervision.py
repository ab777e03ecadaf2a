"""A supervisor without ROS, clock or threads: one object that plays slots, sensors and time."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from model_registry.core.digest import Digest
from model_registry.core.lines import request
from model_registry.core.robot import Footprint, Limits, Robot, Safety, SourceSettings
from stack.supervisor import report
from stack.supervisor.actions import NAMES, ActionMessage
from stack.supervisor.odometry import Odometry, Pose
from stack.supervisor.requests import CONTROL, OPERATOR, Answer, Ticket, parse_request
from stack.supervisor.scan import Scan
from stack.supervisor.selection import Selected
from stack.supervisor.supervisor import Output, Supervisor

OLD, NEW = Digest.of(b"old"), Digest.of(b"new")
COMMITTED = Selected("a", OLD)
LIMITS = Limits(0.5, 1.0, 2.0, 4.0, 100.0, 200.0)
BODY = Footprint(0.2, 0.2, 0.2, round=True)
BEAMS = 360
ROS_EPOCH_S = 1_700_000_000.0


def robot(safety: Safety | None = None, **absent: bool) -> Robot:
    """A round robot with scan and odometry, without battery and e-stop; `scan=False` takes one away."""
    present = {"scan": True, "odom": True, "battery": False, "estop": False, **absent}
    return Robot(
        name="test-1",
        site="lab",
        embodiment="diff_drive",
        row="process",
        l4t=None,
        topics={},
        limits=LIMITS,
        sources={name: SourceSettings(there, 500.0 if there else 0.0) for name, there in present.items()},
        battery_floor=0.2,
        base_timeout_s=0.25,
        footprint=BODY,
        safety=safety or Safety(),
    )


def around(distance_m: float, number: int = 0) -> Scan:
    """A scan of a round room, seen from its middle; no two numbers give the same ranges. Stamp 0."""
    ranges = np.full(BEAMS, distance_m + number % 50 * 1e-4, dtype=np.float32)
    return Scan(0.0, -math.pi, math.tau / BEAMS, 0.05, 10.0, ranges, frame="lidar")


def with_thing(scan: Scan, bearing: float, distance_m: float, width: float = 0.2) -> Scan:
    """The same with something at a bearing (rad), `width` radians wide."""
    angles = scan.angle_min + scan.angle_increment * np.arange(scan.ranges.size)
    near = np.abs(np.remainder(angles - bearing + math.pi, math.tau) - math.pi) <= width / 2
    return replace(scan, ranges=np.where(near, np.float32(distance_m), scan.ranges))


class Bench:
    """Time moves by `tick`; slots listed in `speeds` send 8 steps of that speed every 60 ms."""

    def __init__(self, config: Robot | None = None, selected: Selected | None = COMMITTED) -> None:
        self.supervisor = Supervisor(config or robot(), selected)
        self.now_s = 100.0
        self.clock_error_s = 0.0
        self.speeds: dict[str, tuple[float, ...] | None] = {"a": (0.3, 0.0)}
        self.releases = {"a": OLD, "b": NEW}
        self.names = NAMES
        self.stamp_age_s = 0.05
        self.score: float | None = None
        self.epoch = 1_000
        self.sensors = True
        self.scan = True
        self.odom = True
        self.battery: float | None = None
        """What a battery says at every tick; None: nothing."""
        self.room_m = 8.0
        self.thing: tuple[float, float] | None = None
        """Bearing (rad) and distance (m) of something in the room."""
        self.half = False
        """The scanner sees only what is ahead."""
        self.measured: tuple[float, float] | None = None
        """What odometry says; None: what was commanded."""
        self.pose = (0.0, 0.0)
        """How far it has driven (m) and turned (rad)."""
        self.place = Pose(0.0, 0.0, 0.0)
        """Where odometry says that it is."""
        self.odometry = Odometry(0.0, (0.0, 0.0), b"", frames=("odom", "base_link"))
        """The newest one; `bend` makes it what is sent."""
        self.bend: Callable[[Odometry], Odometry] = lambda odometry: odometry
        self.bend_scan: Callable[[Scan], Scan] = lambda scan: scan
        self.publishers = {"scan": b"", "odom": b""}
        self.stamp_ages = {"scan": 0.01, "odom": 0.01}
        self.frozen = ""
        """A source whose content does not change any more."""
        self.outputs: list[Output] = []
        self._seq = 0

    @property
    def ros_s(self) -> float:
        return ROS_EPOCH_S + self.now_s + self.clock_error_s

    def message(self, slot: str, values: tuple[tuple[float, ...], ...], step_s: float = 0.05) -> ActionMessage:
        self._seq += 1
        return ActionMessage(
            header=f"{self.releases[slot].short}/{self.epoch}/{self._seq}",
            stamp_s=self.ros_s - self.stamp_age_s,
            names=self.names,
            times=tuple(step_s * index for index in range(len(values))),
            values=values,
            arrival_s=self.now_s,
            ros_s=self.ros_s,
            score=self.score,
        )

    def tick(self, count: int = 1) -> Output:
        for _ in range(count):
            self.now_s += 0.02
            number = len(self.outputs)
            self._sense(number)
            if number % 3 == 0:
                for slot, speed in self.speeds.items():
                    self.supervisor.actions.append((slot, self.message(slot, (speed,) * 8 if speed else ())))
            self.supervisor.ticks.note(0.0)
            self.outputs.append(self.supervisor.tick(self.now_s, self.ros_s))
        return self.outputs[-1]

    def _sense(self, number: int) -> None:
        """Odometry at every tick, a scan at every fifth."""
        speed, sources = self.measured or self.supervisor.limiter.last, self.supervisor.sources
        self._move(speed)
        if self.sensors and self.odom:
            if self.frozen != "odom":
                content = struct.pack("5d", *self.place, *speed)
                self.odometry = self.odometry._replace(speed=speed, pose=self.place, content=content)
            elif self.measured is not None:
                self.odometry = self.odometry._replace(speed=self.measured)
            sent = self.bend(self.odometry._replace(stamp_s=self.ros_s - self.stamp_ages["odom"]))
            sources.odom(sent, self.now_s, self.ros_s, self.publishers["odom"])
        if self.battery is not None:
            sources.charge(self.battery, self.now_s)
        if self.sensors and self.scan and number % 5 == 0:
            scan = around(self.room_m, 0 if self.frozen == "scan" else number)
            scan = with_thing(scan, *self.thing) if self.thing else scan
            if self.half:
                scan = replace(scan, angle_min=-math.pi / 2, angle_increment=math.pi / BEAMS)
            angle_max = scan.angle_min + scan.angle_increment * (scan.ranges.size - 1)
            scan = replace(scan, stamp_s=self.ros_s - self.stamp_ages["scan"], angle_max=angle_max)
            sources.scan(self.bend_scan(scan), self.now_s, self.ros_s, self.publishers["scan"])

    def _move(self, speed: tuple[float, float]) -> None:
        """One tick along the arc of this speed."""
        way, turn = speed[0] * 0.02, speed[1] * 0.02
        middle = self.pose[1] + turn / 2
        self.pose = self.pose[0] + way, self.pose[1] + turn
        x, y = self.place.x + way * math.cos(middle), self.place.y + way * math.sin(middle)
        self.place = Pose(x, y, math.remainder(self.pose[1], math.tau))

    def ask(self, endpoint: str, line: bytes) -> Answer:
        """Send one request and tick until it is answered."""
        answers: list[Answer] = []
        self.supervisor.tickets.append(Ticket(parse_request(line, endpoint), answers.append))
        self.tick()
        return answers[0]

    def operator(self, verb: str) -> Answer:
        return self.ask(OPERATOR, f'{{"v":1,"verb":"{verb}"}}'.encode())

    def drive(self) -> None:
        """Arm and reach the driver's speed."""
        self.tick(70)
        answer = self.operator("arm")
        assert isinstance(answer, dict), answer
        self.tick(30)

    @property
    def state(self) -> str:
        return self.supervisor.machine.state.value


def select(
    bench: Bench, slot: str = "b", release: Digest = NEW, probation_s: float = 10.0, fallback: str | None = "a"
) -> Answer:
    line = request("select", slot=slot, release=str(release), probation_s=probation_s, fallback=fallback)
    return bench.ask(CONTROL, line)


def driving_pair() -> Bench:
    """Slot a drives at 0.3 m/s, slot b is ready at 0.4 m/s."""
    bench = Bench()
    bench.speeds["b"] = (0.4, 0.0)
    bench.drive()
    bench.tick(60)
    return bench


def status(bench: Bench) -> dict[str, object]:
    return report.status(bench.supervisor, bench.now_s)
