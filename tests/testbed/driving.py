"""Drives that a seed makes up, under the real supervisor without ROS.

A seed gives a body, a scanner, a room and a policy that always asks for full speed. `drive(scene(seed))` plays one and
says what was touched. The body follows its command with the lag that robot.toml states, and the sensors are as late
and as noisy as real ones.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from model_registry.core.robot import Footprint, Lidar, Limits, Robot, Safety
from stack.supervisor.limits import Command, within
from stack.supervisor.odometry import Odometry, Pose
from stack.supervisor.scan import Scan
from stack.supervisor.supervisor import Output
from tests.fakes.supervision import Bench, robot
from tests.testbed.rooms import Pole, Room, RoomPose, Scanner

TICK_S = 0.02
SECONDS = 8.0
_STEPS, _STEP_S = 8, 0.05
Policy = Callable[[float, RoomPose, Room], Command]
"""What the policy asks for at a time (s), by where the robot is."""


@dataclass(frozen=True)
class Scene:
    """One drive: who drives where, what the policy asks for, and how late the sensors are (s)."""

    name: str
    robot: Robot
    scanner: Scanner
    room: Room
    policy: Policy
    scan_every: int
    latency_s: float
    odometry_latency: int
    """In ticks."""
    seed: int


@dataclass(frozen=True)
class Drive:
    """What became of a scene: the smallest gap to what stands (m), who was touched, and how far the robot went (m)."""

    name: str
    refused: bool
    least_m: float
    touched: str
    """Empty, or `standing`, `never seen` or `crossing`."""
    speed: float
    """Of the robot when it touched, m/s."""
    way_m: float


def straight(chance: random.Random, full: Command) -> Policy:
    return lambda *_: (full[0], 0.0)


def arc(chance: random.Random, full: Command) -> Policy:
    turn = chance.uniform(-1.0, 1.0) * full[1]
    return lambda *_: (full[0], turn)


def flip(chance: random.Random, full: Command) -> Policy:
    """Turns as fast as it can, to the other side 20 times a second, or less often."""
    half_s = chance.choice((0.05, 0.05, 0.1, 0.2, 0.4))
    return lambda now_s, *_: (full[0], full[1] * (-1.0) ** int(now_s / half_s))


def wander(chance: random.Random, full: Command) -> Policy:
    turns = [chance.uniform(-1.0, 1.0) * full[1] for _ in range(40)]
    hold_s = chance.uniform(0.2, 1.5)
    return lambda now_s, *_: (full[0], turns[int(now_s / hold_s) % len(turns)])


def reverse(chance: random.Random, full: Command) -> Policy:
    hold_s, turn = chance.uniform(0.5, 2.0), chance.choice((0.0, 0.0, 0.5, -0.5)) * full[1]
    return lambda now_s, *_: (full[0] * (-1.0) ** int(now_s / hold_s), turn)


def spin_and_go(chance: random.Random, full: Command) -> Policy:
    hold_s, turn = chance.uniform(0.3, 1.5), chance.choice((1.0, -1.0)) * full[1]
    return lambda now_s, *_: (0.0, turn) if int(now_s / hold_s) % 2 else (full[0], 0.0)


def chase(chance: random.Random, full: Command) -> Policy:
    """Heads for the nearest pole, and for the next one after some seconds; it trembles."""
    hold_s, tremble = chance.uniform(1.5, 6.0), chance.choice((0.0, 0.3, 1.0)) * full[1]

    def ask(now_s: float, at: RoomPose, room: Room) -> Command:
        poles = sorted(room.poles, key=lambda pole: math.hypot(pole.x - at.x, pole.y - at.y))
        if not poles:
            return full[0], 0.0
        pole = poles[int(now_s / hold_s) % len(poles)]
        aside = math.remainder(math.atan2(pole.y - at.y, pole.x - at.x) - at.heading, math.tau)
        turn = within(4.0 * aside, full[1]) + tremble * (-1.0) ** int(now_s / 0.05)
        return full[0] * (abs(aside) < 1.0), within(turn, full[1])

    return ask


POLICIES = (straight, arc, flip, wander, reverse, spin_and_go, chase)


def scene(seed: int, crossing: bool = False) -> Scene:
    """The scene of a seed; `crossing`: something comes from the side."""
    chance = random.Random(seed)
    body = _body(chance)
    limits = Limits(chance.choice((0.3, 0.5, 0.5, 0.8)), chance.choice((1.0, 2.0)), 2.0, 4.0, 20.0, 40.0)
    make = POLICIES[seed % len(POLICIES)]
    scanner = _scanner(chance, body, ahead=make not in (reverse,))
    margin = _margin(chance, body, scanner)
    config = replace(
        robot(Safety(margin=margin), odom=chance.random() < 0.8),
        limits=limits,
        footprint=body,
        lidar=scanner.mount,
        base_response_s=chance.choice((0.05, 0.1, 0.2)),
    )
    room = Room(chance.uniform(3.0, 5.0), chance.uniform(3.0, 5.0))
    room.poles += _poles(chance, scanner, body, margin)
    if crossing:
        room.poles.append(_crossing(chance, limits.linear))
    full = limits.linear, limits.angular
    return Scene(
        name=f"{make.__name__}, {scanner.described}",
        robot=config,
        scanner=scanner,
        room=room,
        policy=make(chance, full),
        scan_every=chance.choice((4, 5, 5)),
        latency_s=chance.uniform(0.0, 0.06),
        odometry_latency=chance.choice((0, 1)),
        seed=seed,
    )


def _body(chance: random.Random) -> Footprint:
    if chance.random() < 0.6:
        radius = chance.uniform(0.15, 0.3)
        return Footprint(radius, radius, radius, round=True)
    return Footprint(chance.uniform(0.2, 0.4), chance.uniform(0.15, 0.4), chance.uniform(0.15, 0.3), round=False)


def _margin(chance: random.Random, body: Footprint, scanner: Scanner) -> float:
    """What an owner sets: enough for what the scanner cannot see, but in some robots."""
    mount = scanner.mount
    places = [RoomPose(mount.x, mount.y, mount.yaw + angle).place(scanner.range_min, 0.0) for angle in scanner.angles]
    blind = max(Pole(x, y, 0.0).gap_m(body, RoomPose(0.0, 0.0, 0.0)) for x, y in places)
    return 0.1 if chance.random() < 0.1 else max(0.1, blind + 0.001)


def _scanner(chance: random.Random, body: Footprint, ahead: bool) -> Scanner:
    field = math.radians(chance.choice((180, 240, 270, 360) if ahead else (360,)))
    x, y = (chance.choice((0.0, 0.5, 0.8, -0.3)) * body.front, chance.uniform(-0.5, 0.5) * body.half_width)
    yaw = chance.choice((0.0, 0.0, 0.3, -0.3) if field < math.radians(350) else (0.0, math.pi, 1.3, -2.0))
    return Scanner(
        mount=Lidar(x, y, yaw),
        beams=chance.choice((90, 180, 360, 360, 720, 1440)),
        field=field,
        range_min=chance.choice((0.05, 0.12, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)),
        near=chance.choice((math.nan, 0.0, math.inf)),
    )


def _poles(chance: random.Random, scanner: Scanner, body: Footprint, margin: float) -> list[Pole]:
    """In most rooms one straight ahead, the others anywhere; none where it cannot be seen at the start."""
    places = []
    if chance.random() < 0.8:
        places.append((chance.uniform(0.6, 1.6) + body.front, chance.uniform(-1.0, 1.0) * body.half_width))
    for _ in range(chance.randrange(2, 10)):
        bearing, distance = chance.uniform(-math.pi, math.pi), chance.uniform(0.6, 2.2)
        places.append((distance * math.cos(bearing), distance * math.sin(bearing)))
    poles = [Pole(x, y, chance.choice((0.005, 0.01, 0.02, 0.05, chance.uniform(0.005, 0.05)))) for x, y in places]
    start = RoomPose(0.0, 0.0, 0.0)
    return [
        pole
        for pole in poles
        if pole.gap_m(body, start) > margin + 0.1
        and math.hypot(pole.x - scanner.mount.x, pole.y - scanner.mount.y) > scanner.range_min + pole.radius + 0.05
    ]


def _crossing(chance: random.Random, speed: float) -> Pole:
    """As thick as a leg; it meets a robot that goes straight ahead, more or less."""
    walk, side, ahead = chance.uniform(0.3, 0.7), chance.choice((1.0, -1.0)), chance.uniform(0.6, 1.5)
    start_s = 1.9 + ahead / speed + chance.uniform(-0.4, 0.4)  # the robot sets off when it was armed
    slant = chance.uniform(-0.5, 0.5)
    vx, vy = walk * math.sin(slant), -side * walk * math.cos(slant)
    return Pole(ahead - vx * start_s, -vy * start_s, chance.uniform(0.04, 0.08), (vx, vy))


class Driving(Bench):
    """The supervisor's bench in a room. Without `guarded` the body does what the policy asks for."""

    def __init__(self, played: Scene, guarded: bool = True) -> None:
        super().__init__(played.robot)
        self.scene, self.guarded = played, guarded
        self.at = RoomPose(0.0, 0.0, 0.0)
        self.moving: Command = (0.0, 0.0)
        self.way_m = 0.0
        self.asked: Policy = lambda *_: (0.0, 0.0)
        self._chance = np.random.default_rng(played.seed)
        self._waiting: list[tuple[float, Scan, list[Pole]]] = []
        self._speeds = [(RoomPose(0.0, 0.0, 0.0), (0.0, 0.0))] * 3

    def tick(self, count: int = 1) -> Output:
        for _ in range(count):
            self.now_s += TICK_S
            number = len(self.outputs)
            self._move()
            self._sense(number)
            if number % 2 == 0:
                values = tuple(self._ask(self.now_s + _STEP_S * step) for step in range(_STEPS))
                self.supervisor.actions.append(("a", self.message("a", values, _STEP_S)))
            self.supervisor.ticks.note(0.0)
            self.outputs.append(self.supervisor.tick(self.now_s, self.ros_s))
        return self.outputs[-1]

    def _ask(self, at_s: float) -> Command:
        return self.asked(at_s, self.at, self.scene.room)

    def _move(self) -> None:
        """The body follows the last command for one tick."""
        command = self.outputs[-1].command if self.outputs else (0.0, 0.0)
        command = command if self.guarded else self._ask(self.now_s)
        follows = 1.0 - math.exp(-TICK_S / self.scene.robot.base_response_s)
        before = self.moving
        self.moving = (
            before[0] + follows * (command[0] - before[0]),
            before[1] + follows * (command[1] - before[1]),
        )
        way, turn = (before[0] + self.moving[0]) / 2 * TICK_S, (before[1] + self.moving[1]) / 2 * TICK_S
        x, y = self.at.place(way * math.cos(turn / 2), way * math.sin(turn / 2))
        self.at = RoomPose(x, y, self.at.heading + turn)
        self.way_m += abs(way)
        self.scene.room.move(TICK_S)

    def _sense(self, number: int) -> None:
        sources, played = self.supervisor.sources, self.scene
        self._speeds = [(self.at, self.moving), *self._speeds[:2]]
        at, speed = self._speeds[played.odometry_latency]
        content = struct.pack("5d", *at, *speed)
        stamp_s = self.ros_s - played.odometry_latency * TICK_S
        pose = Pose(at.x, at.y, at.heading)
        sources.odom(Odometry(stamp_s, speed, content, 0.0, pose), self.now_s, self.ros_s)
        if number % played.scan_every == 0:
            scan, shown = self._scan()
            self._waiting.append((self.now_s + played.latency_s, scan, shown))
        while self._waiting and self._waiting[0][0] <= self.now_s:
            _, scan, shown = self._waiting.pop(0)
            sources.scan(scan, self.now_s, self.ros_s)
            for pole in shown:
                pole.seen = True

    def _scan(self) -> tuple[Scan, list[Pole]]:
        scanner = self.scene.scanner
        ranges, shown = scanner.ranges(self.scene.room, self.at, self._chance)
        angle_min = float(scanner.angles[0])
        angle_max = angle_min + (len(ranges) - 1) * scanner.increment
        scan = Scan(self.ros_s, angle_min, scanner.increment, scanner.range_min, scanner.range_max, ranges, angle_max)
        return scan, shown

    def nearest(self) -> tuple[float, Pole | None]:
        """The smallest gap to what stands, and who is touched."""
        body, room = self.scene.robot.footprint, self.scene.room
        assert body is not None
        gaps = [(pole.gap_m(body, self.at), pole) for pole in room.poles]
        touched = next((pole for gap, pole in gaps if gap < 0.0), None)
        standing = [gap for gap, pole in gaps if not pole.crosses]
        return min([room.wall_gap_m(body, self.at), *standing]), touched


def drive(played: Scene, guarded: bool = True, seconds: float = SECONDS) -> Drive:
    """Arm, drive, and look after every tick; the first touch ends it."""
    bench = Driving(played, guarded)
    bench.tick(70)
    answer = bench.operator("arm")
    refused = guarded and not isinstance(answer, dict)
    bench.asked = played.policy
    least, touched = math.inf, ""
    for _ in range(int(seconds / TICK_S)):
        if refused:
            break
        bench.tick()
        gap, pole = bench.nearest()
        least = min(least, gap)
        if gap < 0.0 or pole is not None:
            touched = _kind(pole)
            break
        if not bench.supervisor.machine.armed and guarded and bench.supervisor.standing:
            bench.operator("arm")
    return Drive(played.name, refused, least, touched, abs(bench.moving[0]), bench.way_m)


def _kind(pole: Pole | None) -> str:
    if pole is None or (pole.seen and not pole.crosses):
        return "standing"
    return "crossing" if pole.crosses else "never seen"
