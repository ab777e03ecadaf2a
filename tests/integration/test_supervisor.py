"""The supervisor as a real process on real topics, with slots and sensors played by this test."""

from __future__ import annotations

import json
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from model_registry.core import lines
from model_registry.core.digest import Digest
from model_registry.core.errors import LockedError, RefusedError
from model_registry.core.layout import Layout
from tests.fakes.ros import Process, Ros, allocate_domain_id, ros_env, wait_until

OLD, NEW = Digest.of(b"old"), Digest.of(b"new")
ROBOT = """
name = "test-1"
site = "lab"
embodiment = "diff_drive"
row = "process"
battery_floor = 0.2
[limits]
linear = 0.5
angular = 1.0
linear_acceleration = 2.0
angular_acceleration = 4.0
[sources.scan]
present = true
max_age_ms = 500
[sources.odom]
present = true
max_age_ms = 500
[sources.battery]
present = false
[base]
timeout_s = 0.25
"""
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Repeat(threading.Thread):
    """Calls a function at a rate until it is stopped."""

    def __init__(self, hz, function):
        super().__init__(daemon=True)
        self.period_s, self.function = 1.0 / hz, function
        self.ending = threading.Event()

    def run(self):
        deadline = time.monotonic()
        while not self.ending.is_set():
            self.function()
            deadline += self.period_s
            self.ending.wait(max(0.0, deadline - time.monotonic()))

    def stop(self):
        self.ending.set()
        self.join(2.0)


class FakeSlot:
    """Publishes 8 steps of one speed at 20 Hz, as a policy does."""

    def __init__(self, ros, slot, release, speed):
        self.publisher = ros.publisher(f"/slot_{slot}/action", JointTrajectory)
        self.clock = ros.node.get_clock()
        self.release, self.speed = release, speed
        self.names = ["linear_x", "angular_z"]
        self.epoch, self.seq = time.monotonic_ns(), 0
        self.repeat = Repeat(20, self.publish)

    def publish(self):
        self.seq += 1
        message = JointTrajectory(joint_names=self.names)
        message.header.stamp = self.clock.now().to_msg()
        message.header.frame_id = f"{self.release.short}/{self.epoch}/{self.seq}"
        for index in range(8):
            point = JointTrajectoryPoint(velocities=[self.speed, 0.0])
            point.time_from_start = Duration(seconds=index * 0.05).to_msg()
            message.points.append(point)
        self.publisher.publish(message)


class Bench:
    """A supervisor with slot `a` committed, sensors, and both slots."""

    def __init__(self, ros, root):
        self.layout = Layout.at(root)
        self.ros = ros
        self.cmd_vel = ros.record("/cmd_vel", Twist)
        self.applied = ros.record("/safety/applied", TwistStamped)
        self.states = ros.record("/safety/state", String, KEPT)
        self.commands = ros.record("/command", String, KEPT)
        self.voice = ros.publisher("/voice_command", String)
        self.estop = ros.publisher("/safety/estop", Bool)
        self.slots = {"a": FakeSlot(ros, "a", OLD, 0.3), "b": FakeSlot(ros, "b", NEW, 0.4)}
        scan, odom = ros.publisher("/scan", LaserScan, SENSOR), ros.publisher("/odom", Odometry, SENSOR)
        self.scan = Repeat(10, lambda: scan.publish(LaserScan(ranges=[1.0] * 360)))
        self.odom = Repeat(50, lambda: odom.publish(self.measured()))
        self.repeats = [self.scan, self.odom, self.slots["a"].repeat, self.slots["b"].repeat]
        for repeat in self.repeats:
            repeat.start()

    def measured(self):
        message = Odometry()
        if self.cmd_vel:
            message.twist.twist = self.cmd_vel[-1][1]
        return message

    def close(self):
        for repeat in self.repeats:
            repeat.stop()

    def control(self, verb, **fields):
        return lines.call(self.layout.control_socket, lines.request(verb, **fields), 5.0)

    def operator(self, verb):
        return lines.call(self.layout.operator_socket, lines.request(verb), 5.0)

    @property
    def status(self):
        return self.control("status")

    @property
    def speed(self):
        return self.cmd_vel[-1][1].linear.x if self.cmd_vel else None

    def arm(self):
        wait_until(lambda: not self.status["blocking"], 15.0, "nothing to block arming")
        return self.operator("arm")

    def drive(self, speed=0.3):
        self.arm()
        wait_until(lambda: self.speed == pytest.approx(speed), 5.0, f"{speed} m/s")

    def wait_selectable(self, slot):
        wait_until(lambda: self.status["slots"][slot]["selectable"], 15.0, f"slot {slot} to be selectable")

    def select_new(self, probation_s=30.0, fallback="a"):
        self.wait_selectable("b")
        return self.control("select", slot="b", release=str(NEW), probation_s=probation_s, fallback=fallback)


@pytest.fixture
def root(tmp_path):
    layout = Layout.at(tmp_path / "robot")
    layout.robot_toml.parent.mkdir(parents=True)
    layout.robot_toml.write_text(ROBOT)
    layout.release(OLD).mkdir(parents=True)
    layout.slot("a").parent.mkdir()
    layout.slot("a").symlink_to(f"../releases/{OLD.hex}")
    layout.current.symlink_to("slots/a")
    return layout.root


@pytest.fixture
def domain():
    return allocate_domain_id()


@pytest.fixture
def process(root, domain, tmp_path):
    log = tmp_path / "supervisor.log"
    with Process(["stack.supervisor", "--root", str(root)], ros_env(tmp_path, domain), log) as started:
        wait_until(Layout.at(root).control_socket.exists, 10.0, "the control socket")
        yield started


@pytest.fixture
def bench(root, domain, tmp_path, process):
    with Ros(tmp_path, domain) as ros:
        bench = Bench(ros, root)
        try:
            yield bench
        finally:
            bench.close()


def zero_since(messages, start_s):
    """Speeds received later than `start_s`."""
    return [message.linear.x for at_s, message in messages if at_s > start_s]


def test_it_publishes_zero_until_it_is_armed_and_then_what_the_slot_asks(bench):
    wait_until(lambda: not bench.status["blocking"], 15.0, "nothing to block arming")
    wait_until(lambda: len(bench.cmd_vel) > 20, 10.0, "zeros on /cmd_vel")
    assert {message.linear.x for _, message in bench.cmd_vel} == {0.0}
    assert bench.arm()["armed"]
    wait_until(lambda: bench.speed == pytest.approx(0.3), 5.0, "0.3 m/s")
    assert bench.status["state"] == "RUN"
    assert bench.applied[-1][1].header.frame_id.startswith(OLD.short)


def test_a_silent_slot_stops_the_robot_and_it_stays_stopped_until_it_is_armed_again(bench):
    bench.drive()
    bench.slots["a"].repeat.stop()
    stopped_s = time.monotonic()
    wait_until(lambda: bench.speed == 0.0, 2.0, "zero")
    assert "silence" in bench.status["reasons"]
    with pytest.raises(RefusedError, match="silence"):
        bench.operator("arm")
    bench.slots["a"].repeat = Repeat(20, bench.slots["a"].publish)
    bench.repeats.append(bench.slots["a"].repeat)
    bench.slots["a"].repeat.start()
    wait_until(lambda: not bench.status["blocking"], 5.0, "the slot to be heard")
    assert bench.status["state"] == "SAFE_STOP"
    assert zero_since(bench.cmd_vel, stopped_s + 2.0) == [0.0] * len(zero_since(bench.cmd_vel, stopped_s + 2.0))
    bench.drive()


def test_a_lost_scan_stops_the_robot_and_is_named(bench):
    bench.drive()
    bench.scan.stop()
    wait_until(lambda: bench.speed == 0.0, 3.0, "zero")
    wait_until(lambda: bench.status["blocking"] == ["scan_stale"], 2.0, "scan_stale")
    assert bench.status["sources"]["scan"]["fault"] == "too old"


def test_a_cutover_never_commands_zero_and_never_jumps(bench):
    bench.drive()
    bench.wait_selectable("b")
    start = len(bench.cmd_vel)
    taken = bench.select_new()
    wait_until(lambda: bench.speed == pytest.approx(0.4), 5.0, "0.4 m/s")
    speeds = [message.linear.x for _, message in bench.cmd_vel[start - 1 :]]
    assert min(speeds) >= 0.3 - 1e-6
    assert max(abs(b - a) for a, b in pairwise(speeds)) <= 2.0 * 0.02 + 1e-6
    assert taken["tick"] > 0
    assert bench.status["probation"]["fallback"] == "a"


def test_a_select_is_refused_for_another_release_and_for_a_slot_that_is_not_ready(bench):
    bench.wait_selectable("b")
    with pytest.raises(RefusedError, match="carry release"):
        bench.control("select", slot="b", release=str(OLD), probation_s=0, fallback=None)
    bench.slots["b"].repeat.stop()
    wait_until(lambda: not bench.status["slots"]["b"]["selectable"], 5.0, "slot b not to be selectable")
    with pytest.raises(RefusedError, match="not selectable"):
        bench.control("select", slot="b", release=str(NEW), probation_s=0, fallback=None)
    assert bench.status["selected"]["slot"] == "a"


def test_a_candidate_that_says_nan_is_reverted_while_the_robot_goes_on(bench):
    bench.drive()
    bench.select_new()
    wait_until(lambda: bench.speed == pytest.approx(0.4), 5.0, "0.4 m/s")
    start = len(bench.cmd_vel)
    bench.slots["b"].speed = float("nan")
    wait_until(lambda: bench.status["reverted"], 3.0, "the reversal")
    wait_until(lambda: bench.speed == pytest.approx(0.3), 3.0, "0.3 m/s")
    status = bench.status
    assert (status["selected"]["slot"], status["state"], status["armed"]) == ("a", "RUN", True)
    assert (status["reverted"]["reason"], status["reverted"]["to"]) == ("non_finite", "a")
    assert min(message.linear.x for _, message in bench.cmd_vel[start:]) >= 0.3 - 1e-6


def test_a_candidate_that_goes_silent_is_reverted_while_the_robot_goes_on(bench):
    bench.drive()
    bench.select_new()
    bench.slots["b"].repeat.stop()
    wait_until(lambda: bench.status["reverted"], 3.0, "the reversal")
    assert bench.status["reverted"]["reason"] == "silence"
    assert bench.status["armed"]


def test_nan_without_a_way_back_latches(bench):
    bench.drive()
    bench.slots["a"].speed = float("nan")
    wait_until(lambda: bench.status["state"] == "LATCHED", 3.0, "LATCHED")
    wait_until(lambda: bench.speed == 0.0, 2.0, "zero")
    assert bench.status["latched"] == ["non_finite"]


def test_an_estop_latches_and_reset_is_not_arm(bench):
    bench.drive()
    bench.estop.publish(Bool(data=True))
    wait_until(lambda: bench.status["state"] == "LATCHED", 3.0, "LATCHED")
    with pytest.raises(RefusedError, match="estop"):
        bench.operator("arm")
    with pytest.raises(RefusedError, match="estop"):
        bench.operator("reset")
    bench.estop.publish(Bool(data=False))
    wait_until(lambda: bench.status["reasons"] == [] and bench.speed == 0.0, 3.0, "the switch to be released")
    wait_until(lambda: abs(bench.status["speed"]["linear"]) < 0.01, 3.0, "standstill")
    assert bench.operator("reset") == {"state": "SAFE_STOP", "armed": False, "blocking": []}
    bench.drive()


def test_hold_ramps_to_zero_and_unhold_goes_on_without_arming(bench):
    bench.drive()
    assert bench.control("hold", owner="agent", reason="switch")["held"]
    wait_until(lambda: bench.control("hold", owner="agent", reason="switch")["at_zero"], 3.0, "zero speed")
    assert bench.status["armed"]
    assert not bench.control("unhold", owner="agent")["held"]
    wait_until(lambda: bench.speed == pytest.approx(0.3), 3.0, "0.3 m/s")


def test_the_word_stop_needs_no_model_and_a_new_command_goes_on(bench):
    bench.drive()
    wait_until(lambda: bench.voice.get_subscription_count() > 0, 10.0, "the voice subscription")
    bench.voice.publish(String(data="Stop!"))
    wait_until(lambda: bench.speed == 0.0, 3.0, "zero")
    assert json.loads(bench.commands[-1][1].data) == {"text": "stop", "seq": 1, "remaining_s": None}
    bench.voice.publish(String(data="Go to the RED pillar"))
    wait_until(lambda: bench.speed == pytest.approx(0.3), 3.0, "0.3 m/s")
    assert json.loads(bench.commands[-1][1].data)["text"] == "go to the red pillar"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_last_message_before_the_process_ends_is_zero(bench, process, number):
    bench.drive()
    process.signal(number)
    assert process.wait(5.0) == 0
    wait_until(lambda: time.monotonic() - bench.cmd_vel[-1][0] > 0.3, 5.0, "silence on /cmd_vel")
    assert bench.speed == 0.0
    assert not json.loads(bench.states[-1][1].data)["armed"]


def test_a_second_supervisor_on_the_same_root_is_refused(bench, root, domain, tmp_path):
    with Process(["stack.supervisor", "--root", str(root)], ros_env(tmp_path, domain), tmp_path / "second") as second:
        assert second.wait(10.0) == LockedError.exit_code
    assert Path(bench.layout.control_socket).exists()
    assert bench.status["seq"] > 0
