"""`python -m stack.sim` as a process, heard and driven by an ordinary ROS 2 node."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState, Image, LaserScan

from tests.fakes.ros import allocate_domain_id, ros_env

REPOSITORY = Path(__file__).parents[2]
DISCOVERY_S = 20.0


class Listener(Node):
    """Keeps the newest message of every topic of the sim and counts them."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__("listener", context=context)
        self.newest: dict[str, object] = {}
        self.counts: dict[str, int] = {}
        for kind, topic in (
            (Image, "/camera/image_raw"),
            (LaserScan, "/scan"),
            (Odometry, "/odom"),
            (BatteryState, "/battery_state"),
        ):
            self.create_subscription(kind, topic, self._keep(topic), qos_profile_sensor_data)
        self.publisher = self.create_publisher(Twist, "/cmd_vel", 10)

    def _keep(self, topic: str) -> Callable[[object], None]:
        def keep(message: object) -> None:
            self.newest[topic] = message
            self.counts[topic] = self.counts.get(topic, 0) + 1

        return keep

    def drive(self, linear: float, angular: float) -> None:
        message = Twist()
        message.linear.x, message.angular.z = linear, angular
        self.publisher.publish(message)

    @property
    def speed(self) -> float:
        odometry = self.newest["/odom"]
        assert isinstance(odometry, Odometry)
        return float(odometry.twist.twist.linear.x)


@pytest.fixture
def domain() -> int:
    return allocate_domain_id()


@pytest.fixture
def listener(
    tmp_path: Path, domain: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Listener, SingleThreadedExecutor]]:
    for name, value in ros_env(tmp_path, domain).items():
        monkeypatch.setenv(name, value)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    node = Listener(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def sim(tmp_path: Path, domain: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    trace = tmp_path / "trace.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "stack.sim", "--layout", "front", "--seed", "3", "--trace", str(trace)],
        cwd=REPOSITORY,
        env=ros_env(tmp_path, domain),
        start_new_session=True,
    )
    yield process, trace
    if process.poll() is None:
        process.kill()
    process.wait(timeout=10)


def spin_until(
    executor: SingleThreadedExecutor, condition: Callable[[], bool], what: str, each: Callable[[], None] | None = None
) -> None:
    deadline = time.monotonic() + DISCOVERY_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DISCOVERY_S:.0f} s for {what}"
        if each is not None:
            each()
        executor.spin_once(timeout_sec=0.05)


def test_sim_senses_drives_and_stops_by_itself(
    listener: tuple[Listener, SingleThreadedExecutor], sim: tuple[subprocess.Popen[bytes], Path]
) -> None:
    node, executor = listener
    process, trace = sim
    spin_until(executor, lambda: len(node.newest) == 4 and node.counts["/camera/image_raw"] > 3, "every topic")

    image, scan, battery = (node.newest[topic] for topic in ("/camera/image_raw", "/scan", "/battery_state"))
    assert isinstance(image, Image)
    assert isinstance(scan, LaserScan)
    assert isinstance(battery, BatteryState)
    assert (image.width, image.height, image.encoding, image.step) == (320, 240, "rgb8", 960)
    assert len(image.data) == 320 * 240 * 3
    assert image.header.stamp.sec > 0
    assert len(scan.ranges) == 360
    assert scan.angle_min == pytest.approx(-math.pi)
    assert (scan.range_min, scan.range_max) == (pytest.approx(0.05), pytest.approx(10.0))
    assert 0.0 < battery.percentage <= 1.0

    spin_until(executor, lambda: node.speed > 0.25, "the robot to drive", lambda: node.drive(0.3, 0.2))
    spin_until(executor, lambda: abs(node.speed) < 0.01, "the robot to stop by itself")

    node.destroy_publisher(node.publisher)
    node.publisher = node.create_publisher(Twist, "/cmd_vel", qos_profile_sensor_data)
    spin_until(executor, lambda: node.speed > 0.25, "a best-effort command to be heard", lambda: node.drive(0.3, 0.2))

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    states = [json.loads(line) for line in trace.read_text().splitlines()]
    assert {"t", "x", "y", "theta", "v", "w", "contact", "pillars"} <= set(states[-1])
    assert states[-1]["x"] > states[0]["x"]


def test_wrong_respawn_text_is_a_usage_error(tmp_path: Path, domain: int) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "stack.sim", "--respawn", "turn left"],
        cwd=REPOSITORY,
        env=ros_env(tmp_path, domain),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2
    assert "names no colour" in result.stderr
