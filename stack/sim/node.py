"""The simulated robot as a ROS 2 node, in real time.

One thread owns the world and works on monotonic deadlines; rclpy's executor thread only notes the newest `/cmd_vel`.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from array import array
from pathlib import Path
from typing import IO, Any

import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState, Image, LaserScan
from std_msgs.msg import Header

from stack.sim.senses import ANGLE_INCREMENT, ANGLE_MIN, BEAMS, HEIGHT, RANGE_MAX_M, RANGE_MIN_M, WIDTH, Senses
from stack.sim.world import World

TICK_S = 0.02
SCAN_TICKS = 5  # 10 Hz
BATTERY_TICKS = 50  # 1 Hz
TRACE_TICKS = 10  # 5 Hz
CAMERA_HZ = 15.0
MAX_STEP_S = 0.1  # after a stall the robot does not leap

# Asks for nothing, so that whoever commands is heard; an old command must not count.
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
TOPICS = {
    Image: ("/camera/image_raw", qos_profile_sensor_data),
    LaserScan: ("/scan", qos_profile_sensor_data),
    Odometry: ("/odom", qos_profile_sensor_data),
    BatteryState: ("/battery_state", 10),
}


class SimNode(Node):  # type: ignore[misc]
    """Publishes what the robot senses and listens to `/cmd_vel`."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("sim", enable_rosout=False, start_parameter_services=False)
        self.world = world
        self._senses = Senses(seed)
        self._latest: tuple[float, float] | None = None
        self._topics = {kind: self.create_publisher(kind, *where) for kind, where in TOPICS.items()}
        self.create_subscription(Twist, "/cmd_vel", self._on_command, _NEWEST)
        self._image = Image(
            header=Header(frame_id="camera"), height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3
        )
        self._scan = LaserScan(
            header=Header(frame_id="lidar"),
            angle_min=ANGLE_MIN,
            angle_max=ANGLE_MIN + ANGLE_INCREMENT * (BEAMS - 1),
            angle_increment=ANGLE_INCREMENT,
            scan_time=SCAN_TICKS * TICK_S,
            range_min=RANGE_MIN_M,
            range_max=RANGE_MAX_M,
        )
        self._odom = Odometry(header=Header(frame_id="odom"), child_frame_id="base_link")
        self._battery = BatteryState(present=True, power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING)

    def _on_command(self, message: Twist) -> None:
        self._latest = (message.linear.x, message.angular.z)

    def take_command(self) -> None:
        """Hand the newest command, if one came since the last tick, to the world."""
        latest = self._latest
        self._latest = None
        if latest is not None:
            self.world.command(*latest)

    def _publish(self, message: Any) -> None:  # noqa: ANN401
        message.header.stamp = self.get_clock().now().to_msg()
        self._topics[type(message)].publish(message)

    def publish_image(self) -> None:
        self._image.data = array("B", self._senses.render(self.world.scene).tobytes())
        self._publish(self._image)

    def publish_scan(self) -> None:
        self._scan.ranges = array("f", self._senses.scan(self.world.scene).tobytes())
        self._publish(self._scan)

    def publish_odom(self) -> None:
        place = self._odom.pose.pose
        twist = self._odom.twist.twist
        pose = self.world.pose
        place.position.x = pose.x
        place.position.y = pose.y
        place.orientation.z, place.orientation.w = math.sin(pose.theta / 2), math.cos(pose.theta / 2)
        twist.linear.x = self.world.linear
        twist.angular.z = self.world.angular
        self._publish(self._odom)

    def publish_battery(self) -> None:
        self._battery.percentage = self.world.battery
        self._battery.voltage = 20.0 + 5.0 * self.world.battery
        self._publish(self._battery)


def _trace(file: IO[str], world: World) -> None:
    pose = world.pose
    numbers = {"t": time.monotonic(), "x": pose.x, "y": pose.y, "theta": pose.theta}
    numbers |= {"v": world.linear, "w": world.angular}
    record = {key: round(value, 4) for key, value in numbers.items()} | {
        "contact": world.in_contact,
        "contacts": world.contacts,
        "respawns": world.respawns,
        "pillars": [[p.color, round(p.x, 3), round(p.y, 3)] for p in world.scene.pillars],
    }
    file.write(json.dumps(record, separators=(",", ":")) + "\n")
    file.flush()


def _loop(node: SimNode, stop: threading.Event, trace: IO[str] | None, camera_period_s: float) -> None:
    """Tick at 50 Hz until `stop`; a late tick is made up for in time, never in a burst."""
    before = deadline = next_image = time.monotonic()
    tick = 0
    while not stop.wait(max(0.0, deadline - time.monotonic())):
        now = time.monotonic()
        node.take_command()
        node.world.step(min(now - before, MAX_STEP_S))
        node.publish_odom()
        if tick % SCAN_TICKS == 0:
            node.publish_scan()
        if now >= next_image:
            node.publish_image()
            next_image = max(next_image + camera_period_s, now)
        if tick % BATTERY_TICKS == 0:
            node.publish_battery()
        if trace is not None and tick % TRACE_TICKS == 0:
            _trace(trace, node.world)
        before = now
        tick = tick + 1
        deadline = max(deadline + TICK_S, now)


def _spin(executor: SingleThreadedExecutor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


def run(world: World, seed: int, trace: Path | None, camera_hz: float = CAMERA_HZ) -> None:
    """Publish until SIGTERM or SIGINT arrives. Call from the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = SimNode(world, seed)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor,), name="spin", daemon=True)
    spinner.start()
    try:
        with trace.open("a", encoding="utf-8") if trace else contextlib.nullcontext() as file:
            _loop(node, stop, file, 1.0 / camera_hz)
    finally:
        executor.shutdown(timeout_sec=1.0)
        spinner.join(timeout=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
