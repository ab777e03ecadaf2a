"""A robot whose body and slots are played, around a real supervisor process on real topics.

    with PlayedRobot(folder) as robot:
        robot.drive()
        robot.body.scan_on = False
        robot.wait_state("SAFE_STOP")

Everything that can go wrong with a sensor or a slot is an attribute of `body` or of a `PlayedSlot`. A slot that must be
killed or frozen is a process of its own: `robot.start_slot("a", …)` (tests/testbed/slot_program.py).
"""

from __future__ import annotations

import array
import gc
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import BatteryState, Image, LaserScan
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from model_registry.core import lines
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.layout import Layout
from tests.fakes.robot import make_release, remove_run_folder
from tests.fakes.ros import Process, Ros, allocate_domain_id, ros_env, wait_until
from tests.fakes.settings import robot_toml

OLD, NEW = Digest.of(b"old"), Digest.of(b"new")
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BASE_TIMEOUT_S = 0.25
LATE_S = 0.04
"""Behind its time by more than this, a played slot may have been silent for too long."""
PROGRAM = Path(__file__).with_name("slot_program.py")
LISTENER = Path(__file__).with_name("listener.py")
ROBOT = robot_toml(
    name="test-1",
    embodiment="diff_drive",
    limits={"linear_acceleration": 2.0},
    sources={"battery": {"present": True, "max_age_ms": 3000}},
)


class Repeat(threading.Thread):
    """Calls a function at a rate until it is stopped."""

    def __init__(self, hz: float, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.period_s, self.function = 1.0 / hz, function
        self.late_s = 0.0
        """When it was called late last (monotonic s): the machine was busy."""
        self.ending = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self.ending.is_set():
            now = time.monotonic()
            if now > due + LATE_S:
                self.late_s = now
            self.function()
            due += self.period_s
            self.ending.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        self.ending.set()
        self.join(2.0)


class PlayedSlot:
    """Publishes 8 steps of one speed at 20 Hz, as a policy does; what it says can be bent in every way."""

    def __init__(self, ros: Ros, slot: str, release: Digest, speed: float) -> None:
        self.publisher = ros.publisher(f"/slot_{slot}/action", JointTrajectory)
        self.clock = ros.node.get_clock()
        self.release, self.speed, self.turn, self.steps = release, speed, 0.0, 8
        self.names = ["linear_x", "angular_z"]
        self.value: list[float] | None = None
        """Velocities of every step in place of speed and turn."""
        self.effort: list[float] = []
        """Of the first step: where a policy tells its model's own safety score."""
        self.stamp_offset_s = 0.0
        self.epoch, self.seq = time.monotonic_ns(), 0
        self._well = {
            key: vars(self)[key]
            for key in ("release", "speed", "turn", "steps", "names", "value", "effort", "stamp_offset_s")
        }
        self._start()

    def heal(self) -> None:
        """Say again what it said at first."""
        vars(self).update(self._well)

    def _start(self) -> None:
        self._repeat = Repeat(20, self.publish)
        self._repeat.start()

    @property
    def late_s(self) -> float:
        """When this machine made it late last (monotonic s)."""
        return self._repeat.late_s

    def stop(self) -> None:
        self._repeat.stop()

    def start(self) -> None:
        """Publish again, as another process of the same release."""
        self.epoch, self.seq = time.monotonic_ns(), 0
        self._start()

    def message(self) -> JointTrajectory:
        self.seq += 1
        message = JointTrajectory(joint_names=self.names)
        message.header.stamp = (self.clock.now() + Duration(seconds=self.stamp_offset_s)).to_msg()
        message.header.frame_id = f"{self.release.short}/{self.epoch}/{self.seq}"
        for index in range(self.steps):
            point = JointTrajectoryPoint(velocities=self.value or [self.speed, self.turn])
            point.time_from_start = Duration(seconds=index * 0.05).to_msg()
            message.points.append(point)
        if message.points:
            message.points[0].effort = self.effort
        return message

    def publish(self) -> None:
        self.publisher.publish(self.message())


class Body:
    """Base, scanner and battery. The base follows `/cmd_vel`, and stops by itself after 0.25 s without one."""

    def __init__(self, ros: Ros, cmd_vel: list[tuple[float, Any]], camera: bool) -> None:
        self._cmd_vel, self._clock = cmd_vel, ros.node.get_clock()
        self._scan = ros.publisher("/scan", LaserScan, SENSOR)
        self._odom = ros.publisher("/odom", Odometry, SENSOR)
        self._battery = ros.publisher("/battery_state", BatteryState)
        self._camera = ros.publisher("/camera/image_raw", Image, SENSOR) if camera else None
        self._frame = Image(width=160, height=120, encoding="rgb8", step=480, data=array.array("B", bytes(57_600)))
        self.scan_on = self.odom_on = self.camera_on = True
        self.frozen_camera = False
        self.camera_stamp_offset_s: float | None = 0.0
        """How far the camera's stamps are ahead; None: they are zero."""
        self.camera_encoding = "rgb8"
        self.ranges: list[float] | None = None
        """All beams as they are; None: a room of 5 m with a little noise."""
        self.scan_header: dict[str, Any] = {}
        """What the scan's header says in place of what is right: fields of the message, and `frame_id`."""
        self.scans: list[list[float]] = []
        """Old scans that are played in turn."""
        self.frozen_beams = 0
        """So many of the beams say for ever what they said when this was set."""
        self.thing: tuple[float, float] | None = None
        """Bearing (rad) and distance (m) of something in the room."""
        self.scan_stamp_offset_s = self.odom_stamp_offset_s = 0.0
        self.frozen_odom = False
        self.odom_value: float | None = None
        """What odometry says in place of the speed."""
        self.twist_scale = 1.0
        """By how much the twist of odometry is wrong."""
        self.odom_frames = ("", "")
        self.pose_on = True
        """Without it odometry has a twist and no pose."""
        self.pose_jump_m = 0.0
        """How far every second pose is off."""
        self.pushed = 0.0
        """How fast somebody pushes it while it is told nothing, m/s."""
        self.battery, self.swing = 0.9, 0.0
        self._well = dict(vars(self))
        self.speed = (0.0, 0.0)
        self.sent_s = {"scan": 0.0, "odom": 0.0}
        """When each was sent last (monotonic s)."""
        self._x = self._y = self._yaw = 0.0
        self._number = self._moves = 0
        self._random, self._old = random.Random(0), array.array("f")
        self._repeats = [Repeat(50, self._move), Repeat(10, self._see), Repeat(2, self._charge)]
        self._repeats += [Repeat(15, self._look)] if camera else []
        for repeat in self._repeats:
            repeat.start()

    def stop(self) -> None:
        for repeat in self._repeats:
            repeat.stop()

    def heal(self) -> None:
        """Everything works again."""
        vars(self).update(self._well)

    def _stamp(self, offset_s: float) -> Any:
        return (self._clock.now() + Duration(seconds=offset_s)).to_msg()

    def _move(self) -> None:
        """One fiftieth of a second: along the commanded arc, with the odometry that comes of it."""
        at_s, command = self._cmd_vel[-1] if self._cmd_vel else (0.0, Twist())
        fresh = time.monotonic() - at_s <= BASE_TIMEOUT_S
        wanted = (command.linear.x, command.angular.z) if fresh else (0.0, 0.0)
        if self.frozen_odom:
            wanted = self.speed
        elif wanted == (0.0, 0.0):
            wanted = (self.pushed, 0.0)
        if not self.frozen_odom:
            way, turn = wanted[0] * 0.02, wanted[1] * 0.02
            self._x += way * math.cos(self._yaw + turn / 2)
            self._y += way * math.sin(self._yaw + turn / 2)
            self._yaw += turn
        self.speed = wanted
        if self.odom_on:
            self.sent_s["odom"] = time.monotonic()
            self._odom.publish(self.odometry_message())

    def odometry_message(self) -> Odometry:
        """What the base says of its motion, with whatever is bent of it."""
        message = Odometry(child_frame_id=self.odom_frames[1])
        message.header.frame_id = self.odom_frames[0]
        message.header.stamp = self._stamp(self.odom_stamp_offset_s)
        if self.pose_on:
            self._moves += 1
            pose = message.pose.pose
            pose.position.x, pose.position.y = self._x + self.pose_jump_m * (self._moves % 2), self._y
            pose.orientation.z, pose.orientation.w = math.sin(self._yaw / 2), math.cos(self._yaw / 2)
        twist = message.twist.twist
        twist.linear.x, twist.angular.z = self.twist_scale * self.speed[0], self.twist_scale * self.speed[1]
        if self.odom_value is not None:
            twist.linear.x = self.odom_value
        return message

    def _see(self) -> None:
        self._number += 1
        if self.scan_on:
            self.sent_s["scan"] = time.monotonic()
            self._scan.publish(self.scan_message())

    def scan_message(self) -> LaserScan:
        """What the scanner says now, with whatever is bent of it."""
        message = LaserScan(angle_min=-math.pi, angle_increment=math.tau / 360, range_min=0.05, range_max=10.0)
        message.angle_max = message.angle_min + 359 * message.angle_increment
        message.header.stamp = self._stamp(self.scan_stamp_offset_s)
        message.ranges = array.array("f", self._beams())
        for name, value in self.scan_header.items():
            setattr(message.header if name == "frame_id" else message, name, value)
        return message

    def _beams(self) -> list[float]:
        """What the scanner sees: no two scans of a living one are alike."""
        if self.scans:
            return self.scans[self._number % len(self.scans)]
        ranges = self.ranges or [self._random.gauss(5.0, 0.003) for _ in range(360)]
        if self.thing is not None:
            middle = round(math.degrees(self.thing[0])) + 180
            ranges = [self.thing[1] if abs(index - middle) <= 5 else each for index, each in enumerate(ranges)]
        if not self.frozen_beams:
            self._old = array.array("f", ranges)
        return [*self._old[: self.frozen_beams], *ranges[self.frozen_beams :]]

    def _look(self) -> None:
        if not self.frozen_camera:
            self._frame.data = array.array("B", os.urandom(len(self._frame.data)))
        zero = self.camera_stamp_offset_s is None
        self._frame.header.stamp = Time() if zero else self._stamp(self.camera_stamp_offset_s or 0.0)
        self._frame.encoding = self.camera_encoding
        if self.camera_on and self._camera is not None:
            self._camera.publish(self._frame)

    def _charge(self) -> None:
        self.swing = -self.swing
        self._battery.publish(BatteryState(percentage=self.battery + self.swing))


class PlayedRobot:
    """A supervisor with slot `a` committed, a body and both slots.

    `robot` is its robot.toml; `body` a program in place of the played one.

    With `model`, the folder of one, slot `a` is not played: it is a real policy of that model, with a camera that shows
    noise.
    """

    def __init__(
        self, folder: Path, robot: str = ROBOT, slots: str = "ab", body: tuple[str, ...] = (), model: Path | None = None
    ) -> None:
        self.folder, self._robot, self._names, self._body, self._model = folder, robot, slots, body, model
        self.layout = Layout.at(folder / "robot")
        self.domain = allocate_domain_id()
        self.environment = ros_env(folder, self.domain)
        self.python = sys.executable
        self.slots: dict[str, PlayedSlot] = {}
        self.programs: dict[str, Process] = {}
        """Further processes by name, which end with the robot."""
        self.strangers: list[Any] = []
        """Publishers that a case has added."""
        self._elsewhere: Ros | None = None

    def __enter__(self) -> PlayedRobot:
        # What a long test run has left need not be walked by the collector while slots are played: that alone can be a
        # silence.
        gc.collect()
        gc.freeze()
        layout = self.layout
        layout.robot_toml.parent.mkdir(parents=True)
        layout.robot_toml.write_text(self._robot)
        if self._model is None:
            layout.release(OLD).path.mkdir(parents=True)
            layout.slot("a").parent.mkdir()
            layout.slot("a").symlink_to(f"../releases/{OLD.hex}")
        else:
            make_release(layout.root, self._model, slot="a")
        layout.current.symlink_to("slots/a")
        self._ros = Ros(self.folder, self.domain)
        self.ros = self._ros.__enter__()
        self.cmd_vel = self.ros.record("/cmd_vel", Twist)
        self.applied = self.ros.record("/safety/applied", TwistStamped)
        self.states = self.ros.record("/safety/state", String, KEPT)
        self.safe = self.ros.record("/safety_status", Bool)
        self.log = self.ros.record("/safety_log", String)
        self.commands = self.ros.record("/command", String, KEPT)
        self.voice = self.ros.publisher("/voice_command", String)
        self.estop = self.ros.publisher("/safety/estop", Bool)
        self.start_supervisor()
        self.odom = self.ros.record("/odom", Odometry, SENSOR)
        if not self._body:
            self.body = Body(self.ros, self.cmd_vel, self._model is not None)
        else:
            log = self.folder / "body.log"
            self.programs["body"] = Process(self._body, self.environment, log).__enter__()
        for slot, release, speed in (("a", OLD, 0.3), ("b", NEW, 0.4)):
            if slot in self._names:
                self.slots[slot] = PlayedSlot(self.ros, slot, release, speed)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        gc.unfreeze()
        for slot in self.slots.values():
            slot.stop()
        if not self._body:
            self.body.stop()
        for program in [*self.programs.values(), self.supervisor]:
            program.__exit__(kind, error, trace)
        if self._elsewhere is not None:
            self._elsewhere.__exit__(kind, error, trace)
        self._ros.__exit__(kind, error, trace)
        remove_run_folder(self.layout.root)

    @property
    def elsewhere(self) -> Ros:
        """A node of another DDS participant: one participant refuses a topic of two types."""
        if self._elsewhere is None:
            self._elsewhere = Ros(self.folder, self.domain).__enter__()
        return self._elsewhere

    def start_supervisor(self) -> None:
        """Start it, also a second time, and wait until it answers."""
        argv = ["stack.supervisor", "--root", str(self.layout.root)]
        self.supervisor = Process(argv, self.environment, self.folder / "supervisor.log").__enter__()
        wait_until(self.try_status, 15.0, "the supervisor to answer")

    def try_status(self) -> dict[str, Any] | None:
        """The supervisor's status, or None when it does not answer now."""
        try:
            return self.status
        except HomeportError:
            return None

    def start_slot(self, slot: str, release: Digest = OLD, speed: float = 0.3, steps: int = 8) -> Process:
        """A slot as a process of its own, which can be killed or frozen."""
        argv = [self.python, str(PROGRAM), slot, release.short, str(speed), str(steps)]
        return self._run(slot, Process(argv, self.environment, self.folder / f"slot-{slot}.log"))

    def _run(self, name: str, program: Process) -> Process:
        """Start a program in place of the one of that name, if there is one."""
        if name in self.programs:
            self.programs.pop(name).stop()
        self.programs[name] = program.__enter__()
        return program

    def start_policy(self, *first: str) -> Process:
        """The real policy of slot a; `first` is a program that becomes it, such as setpriv, with its options."""
        argv = ["stack.policy", "--slot", "a", "--root", str(self.layout.root)]
        if first:
            argv = [*first, self.python, "-m", *argv]
        return self._run("a", Process(argv, self.environment, self.folder / "policy.log"))

    def control(self, verb: str, **fields: object) -> dict[str, Any]:
        return lines.call(self.layout.control_socket, lines.request(verb, **fields), 5.0)

    def operator(self, verb: str, **fields: object) -> dict[str, Any]:
        return lines.call(self.layout.operator_socket, lines.request(verb, **fields), 5.0)

    @property
    def status(self) -> dict[str, Any]:
        return self.control("status")

    @property
    def speed(self) -> float | None:
        """The newest commanded forward speed (m/s)."""
        return self.cmd_vel[-1][1].linear.x if self.cmd_vel else None

    @property
    def moving(self) -> bool:
        """Whether the newest command moves it in any way."""
        twist = self.cmd_vel[-1][1] if self.cmd_vel else Twist()
        return abs(twist.linear.x) > 0.01 or abs(twist.angular.z) > 0.01

    @property
    def measured(self) -> float:
        """The newest measured forward speed (m/s)."""
        return float(self.odom[-1][1].twist.twist.linear.x) if self.odom else 0.0

    def wait_healthy(self) -> None:
        wait_until(lambda: not self.status["blocking"], 15.0, "nothing to block arming")

    def arm(self) -> dict[str, Any]:
        """Arm as soon as nothing blocks it; a slot or a sensor that only just started may be silent once more."""

        def armed() -> dict[str, Any] | None:
            try:
                return self.operator("arm")
            except RefusedError:
                return None

        return dict(wait_until(armed, 15.0, "the robot to be armed"))

    def late_since(self, at_s: float) -> bool:
        """Whether this machine has made a played slot late since then, for which the supervisor rightly stops."""
        return any(slot.late_s >= at_s for slot in self.slots.values())

    def drive(self, speed: float = 0.3) -> None:
        """Arm it and wait until it drives; who was stopped because this machine was busy is armed again."""
        armed_s = time.monotonic()
        self.arm()

        def drives() -> bool:
            nonlocal armed_s
            if self.late_since(armed_s) and not self.status["armed"]:
                armed_s = time.monotonic()
                self.arm()
            return math.isclose(self.speed or 0.0, speed, abs_tol=1e-3)

        wait_until(drives, 10.0, f"{speed} m/s")

    def wait_speed(self, speed: float, deadline_s: float = 5.0) -> None:
        wait_until(lambda: math.isclose(self.speed or 0.0, speed, abs_tol=1e-3), deadline_s, f"{speed} m/s")

    def wait_state(self, state: str, deadline_s: float = 5.0) -> None:
        wait_until(lambda: self.status["state"] == state, deadline_s, state)

    def wait_selectable(self, slot: str) -> None:
        wait_until(lambda: self.status["slots"][slot]["selectable"], 15.0, f"slot {slot} to be selectable")

    def select_new(self, probation_s: float = 30.0, fallback: str | None = "a") -> dict[str, Any]:
        self.wait_selectable("b")
        return self.control("select", slot="b", release=str(NEW), probation_s=probation_s, fallback=fallback)
