"""The simulated robot as a ROS 2 node, in real time.

One thread owns the world and works on monotonic deadlines; rclpy's executor thread only notes the newest `/cmd_vel`.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState, Image, LaserScan

from stack.sim import lidar
from stack.sim.camera import HEIGHT, WIDTH
from stack.sim.scenario import Senses
from stack.sim.scene import Pose, build
from stack.sim.world import World

TICK_S = 0.02
SCAN_TICKS = 5  # 10 Hz
BATTERY_TICKS = 50  # 1 Hz
TRACE_TICKS = 10  # 5 Hz
CAMERA_PERIOD_S = 1.0 / 15.0
MAX_STEP_S = 0.1  # after a stall the robot does not leap


@dataclass(frozen=True)
class Settings:
    """What `python -m stack.sim` was asked for."""

    seed: int = 0
    layout: str = "random"
    size: tuple[float, float] = (8.0, 8.0)
    pose: Pose | None = None
    respawn: str | None = None
    trace: Path | None = None


def make_world(settings: Settings) -> World:
    """The world that `settings` describe. Raises UsageError when the room is too small."""
    rng = np.random.default_rng(settings.seed)
    scene = build(settings.layout, rng, settings.size)
    if settings.pose is not None:
        scene = replace(scene, pose=settings.pose)
    return World(scene, rng, settings.respawn)


class SimNode(Node):  # type: ignore[misc]
    """Publishes what the robot senses and listens to `/cmd_vel`."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("sim", enable_rosout=False, start_parameter_services=False)
        self.world = world
        self._senses = Senses(seed)
        self._scans = np.random.default_rng(seed + 1)
        self._latest: tuple[float, float] | None = None
        best_effort = qos_profile_sensor_data
        self._image = self.create_publisher(Image, "/camera/image_raw", best_effort)
        self._scan = self.create_publisher(LaserScan, "/scan", best_effort)
        self._odom = self.create_publisher(Odometry, "/odom", best_effort)
        self._battery = self.create_publisher(BatteryState, "/battery_state", 10)
        self.create_subscription(Twist, "/cmd_vel", self._on_command, 10)
        self._image_message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3)
        self._image_message.header.frame_id = "camera"
        self._scan_message = LaserScan(
            angle_min=lidar.ANGLE_MIN,
            angle_max=lidar.ANGLE_MIN + lidar.ANGLE_INCREMENT * (lidar.BEAMS - 1),
            angle_increment=lidar.ANGLE_INCREMENT,
            scan_time=SCAN_TICKS * TICK_S,
            range_min=lidar.RANGE_MIN_M,
            range_max=lidar.RANGE_MAX_M,
        )
        self._scan_message.header.frame_id = "lidar"
        self._odom_message = Odometry(child_frame_id="base_link")
        self._odom_message.header.frame_id = "odom"

    def _on_command(self, message: Twist) -> None:
        self._latest = (message.linear.x, message.angular.z)

    def take_command(self) -> None:
        """Hand the newest command, if one came since the last tick, to the world."""
        latest, self._latest = self._latest, None
        if latest is not None:
            self.world.command(*latest)

    def publish_image(self) -> None:
        message = self._image_message
        message.header.stamp = self.get_clock().now().to_msg()
        message.data = array("B", self._senses.camera.render(self.world).tobytes())
        self._image.publish(message)

    def publish_scan(self) -> None:
        message = self._scan_message
        message.header.stamp = self.get_clock().now().to_msg()
        message.ranges = array("f", lidar.scan(self.world, self._scans).tobytes())
        self._scan.publish(message)

    def publish_odom(self) -> None:
        message, pose = self._odom_message, self.world.pose
        message.header.stamp = self.get_clock().now().to_msg()
        message.pose.pose.position.x, message.pose.pose.position.y = pose.x, pose.y
        message.pose.pose.orientation.z = math.sin(pose.theta / 2)
        message.pose.pose.orientation.w = math.cos(pose.theta / 2)
        message.twist.twist.linear.x = self.world.linear
        message.twist.twist.angular.z = self.world.angular
        self._odom.publish(message)

    def publish_battery(self) -> None:
        message = BatteryState(percentage=self.world.battery, present=True, voltage=20.0 + 5.0 * self.world.battery)
        message.header.stamp = self.get_clock().now().to_msg()
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
        self._battery.publish(message)


def _trace(file: IO[str], world: World) -> None:
    pose = world.pose
    record = {
        "t": round(time.monotonic(), 4),
        "x": round(pose.x, 4),
        "y": round(pose.y, 4),
        "theta": round(pose.theta, 4),
        "v": round(world.linear, 4),
        "w": round(world.angular, 4),
        "contact": world.in_contact,
        "contacts": world.contacts,
        "respawns": world.respawns,
        "pillars": [[p.color, round(p.x, 3), round(p.y, 3)] for p in world.scene.pillars],
    }
    file.write(json.dumps(record, separators=(",", ":")) + "\n")
    file.flush()


def _loop(node: SimNode, stop: threading.Event, trace: IO[str] | None) -> None:
    """Tick at 50 Hz until `stop`; a late tick is made up for in time, never in a burst."""
    before = deadline = time.monotonic()
    next_image = before
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
            next_image = max(next_image + CAMERA_PERIOD_S, now)
        if tick % BATTERY_TICKS == 0:
            node.publish_battery()
        if trace is not None and tick % TRACE_TICKS == 0:
            _trace(trace, node.world)
        before, tick = now, tick + 1
        deadline = max(deadline + TICK_S, now)


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


def run(settings: Settings) -> None:
    """Publish until SIGTERM or SIGINT arrives. Call from the main thread."""
    world = make_world(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = SimNode(world, settings.seed)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor,), name="spin", daemon=True)
    spinner.start()
    trace = settings.trace.open("a", encoding="utf-8") if settings.trace else None
    try:
        _loop(node, stop, trace)
    finally:
        if trace is not None:
            trace.close()
        executor.shutdown(timeout_sec=1.0)
        spinner.join(timeout=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
