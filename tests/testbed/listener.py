"""An independent listener beside a robot: it imports nothing of Homeport and writes down what it hears.

    python tests/testbed/listener.py OUT.jsonl

Each line has `t` (monotonic seconds of arrival) and `k`: `cmd` (v, w), `applied` (v, w, id, and `hop_ms` from the
tick's deadline to its `/cmd_vel`), `odom` (v, w), `action` (slot, id), `state` (the document). A line `ready` is
written when the first `/cmd_vel` came in; the process ends on SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

FLUSH_S = 0.1


class Listener:
    """Subscribes and writes; every callback runs in the one executor thread."""

    def __init__(self, file: IO[str]) -> None:
        self.node = rclpy.create_node("listener")
        self._file = file
        self._ready = False
        self._flushed = self._command_at = 0.0
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        subscribe = self.node.create_subscription
        subscribe(Twist, "/cmd_vel", self.on_command, 10)
        subscribe(TwistStamped, "/safety/applied", self.on_applied, 10)
        subscribe(Odometry, "/odom", self.on_odometry, qos_profile_sensor_data)
        subscribe(String, "/safety/state", self.on_state, latched)
        for slot in "ab":
            subscribe(JointTrajectory, f"/slot_{slot}/action", partial(self.on_action, slot), 10)

    def write(self, kind: str, **fields: object) -> None:
        now = time.monotonic()
        self._file.write(json.dumps({"t": now, "k": kind, **fields}) + "\n")
        if now - self._flushed > FLUSH_S:
            self._file.flush()
            self._flushed = now

    def on_command(self, message: Twist) -> None:
        self._command_at = time.time()
        self.write("cmd", v=message.linear.x, w=message.angular.z)
        if not self._ready:
            self._ready = True
            self.write("ready")

    def on_applied(self, message: TwistStamped) -> None:
        stamp = message.header.stamp
        hop_ms = round((self._command_at - stamp.sec - stamp.nanosec * 1e-9) * 1e3, 3)
        twist = message.twist
        self.write("applied", v=twist.linear.x, w=twist.angular.z, id=message.header.frame_id, hop_ms=hop_ms)

    def on_action(self, slot: str, message: JointTrajectory) -> None:
        self.write("action", slot=slot, id=message.header.frame_id)

    def on_odometry(self, message: Odometry) -> None:
        self.write("odom", v=message.twist.twist.linear.x, w=message.twist.twist.angular.z)

    def on_state(self, message: String) -> None:
        self.write("state", state=json.loads(message.data))


def spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


def main(out: Path) -> None:
    # All threads inherit the priority of a tick thread, where that is permitted: arrival times carry no scheduling of
    # ours.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with out.open("w", buffering=1 << 16) as file:
        listener = Listener(file)
        executor = SingleThreadedExecutor()
        executor.add_node(listener.node)
        thread = threading.Thread(target=spin, args=(executor,), daemon=True)
        thread.start()
        stop.wait()
        executor.shutdown()
        thread.join(2.0)
        listener.node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
