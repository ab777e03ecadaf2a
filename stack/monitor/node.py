"""The monitor's process: one /diagnostics message a second until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import threading
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS, Layout
from model_registry.core.robot import Robot
from stack.monitor import health
from stack.monitor.resources import Resources

_PERIOD_S = 1.0
_KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_ANY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Asks for nothing, so that every publisher is heard; only `_KEPT` gets what was published before."""


class Monitor:
    """Hears /safety/state, reads the slots' files, says /diagnostics."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._resources = layout, Resources()
        try:
            self._robot = Robot.load(layout.robot_toml).name
        except HomeportError:
            self._robot = ""
        self._state = None
        self._heard_s = 0.0
        self.node = rclpy.create_node("homeport_monitor", enable_rosout=False, start_parameter_services=False)
        self._publisher = self.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        for quality in (_KEPT, _ANY):
            self.node.create_subscription(String, "/safety/state", self._hear, quality)
        self.node.create_timer(_PERIOD_S, self._say)

    def _hear(self, message: String) -> None:
        self._state, self._heard_s = message.data.encode(), time.monotonic()

    def _say(self) -> None:
        found = [health.machine(health.sample(self._resources, self._layout.root))]
        for name in SLOTS:
            # The file first, then the clock: an age is never negative.
            data = health.read(self._layout.slot_status(name))
            found.append(health.slot(name, data, time.monotonic_ns()))
        found.append(health.supervisor(self._state, time.monotonic() - self._heard_s))
        message = DiagnosticArray(status=[self._entry(each) for each in found])
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _entry(self, status: health.HealthStatus) -> DiagnosticStatus:
        values = [KeyValue(key=key, value=value) for key, value in status.values.items()]
        name = f"homeport: {status.name}"
        level = bytes([status.level])
        return DiagnosticStatus(level=level, name=name, message=status.message, hardware_id=self._robot, values=values)


def run(layout: Layout) -> int:
    """Watch until SIGTERM or SIGINT. Returns the exit code."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        monitor = Monitor(layout)
        executor = SingleThreadedExecutor()
        executor.add_node(monitor.node)
        while not ending.is_set():
            executor.spin_once(timeout_sec=0.2)
        monitor.node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return 0
