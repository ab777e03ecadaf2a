"""The policy node: one process, one slot. The only module here that knows ROS.

A lifecycle node that configures and activates itself. The executor thread keeps the newest raw messages, the inference thread makes
chunks, the control thread publishes the rest of the newest one at the control rate, and the main thread writes the slot status.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import psutil
import rclpy
from builtin_interfaces.msg import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Float32, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS, Layout
from stack.policy.load import Found, exit_code, find, load
from stack.policy.profile import Usage, resource_status
from stack.policy.slot import Action, Slot
from stack.policy.status import Status
from stack.policy.ticks import Ticks, prefer_this_thread

_STATUS_PERIOD_S = 0.25
_NEWS_TIMEOUT_S = 0.1
_JOIN_S = 1.0
_SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_COMPATIBLE = QoSProfile(depth=3, reliability=ReliabilityPolicy.RELIABLE)


class PolicyNode(LifecycleNode):  # type: ignore[misc]
    """`/slot_x/policy`. `stop` is set when the process should end; `failure` is why, when it did not want to."""

    def __init__(self, slot: str, found: Found, status: Status, stop: threading.Event) -> None:
        super().__init__("policy", namespace=f"/slot_{slot}", start_parameter_services=False, enable_rosout=False)
        self._name, self._found, self._status = slot, found, status
        self.stop = stop
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._halt = threading.Event()
        self._active = False
        self._selected = False
        self._seq = 0
        self._last: dict[str, float] = {}
        self._due: dict[str, float] = {}

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Verify, load, warm up and subscribe."""
        self._status.state = "warming"
        self.guard(self._load)
        return TransitionCallbackReturn.FAILURE if self.failure else TransitionCallbackReturn.SUCCESS

    def _load(self) -> None:
        loaded = load(self._found)
        self._contract = loaded.contract
        self._slot = Slot(loaded.contract, self._found.profile, loaded.inference)
        self._ticks = Ticks(1.0 / loaded.contract.control_hz)
        self._status.loaded, self._status.running, self._status.ticks = loaded, self._slot, self._ticks
        profile = self._found.profile
        self._actions = self.create_lifecycle_publisher(JointTrajectory, f"/slot_{self._name}/action", _RELIABLE)
        self._resource = self.create_lifecycle_publisher(String, profile.status_topic, _COMPATIBLE)
        self._memory = self.create_lifecycle_publisher(Float32, profile.memory_topic, _COMPATIBLE)
        self._subscribe()

    def _subscribe(self) -> None:
        topics, slot = self._found.topics, self._slot
        for kind, topic, take in (
            (Image, topics["camera"], slot.on_camera),
            (LaserScan, topics["scan"], slot.on_scan),
        ):
            keep = partial(_with_time, take)
            self.create_subscription(kind, topic, keep, _SENSOR, raw=True)
        self.create_subscription(String, "/command", self._on_command, _LATCHED)
        self.create_subscription(String, "/safety/state", self._on_state, _LATCHED)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start inference and control."""
        result = super().on_activate(state)
        self._halt.clear()
        self._threads = [
            threading.Thread(target=self.guard, args=(run,), name=run.__name__, daemon=True)
            for run in (self._infer, self._control)
        ]
        for thread in self._threads:
            thread.start()
        self._status.state, self._active = "ready", True
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the heartbeat; the supervisor stops the robot when this slot was driving it."""
        self._halt.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._active = False
        if self._status.state == "ready":
            self._status.state = "warming"
        return super().on_deactivate(state)

    # Threads

    def guard(self, run: Callable[[], None]) -> None:
        """Root of every thread: whatever is raised there ends the heartbeat and is reported."""
        try:
            run()
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self._status.state = "failed"
        self._status.error = str(error) if isinstance(error, HomeportError) else f"{type(error).__name__}: {error}"
        self._halt.set()
        self.stop.set()

    def start(self) -> None:
        """Configure and activate, once, in a thread of its own: loading may take long and the status must not stand still."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS or self.stop.is_set():
            return
        if self.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            raise HomeportError(f"slot {self._name}: could not be activated; look at its log and start it again")

    def end(self) -> None:
        """Deactivate when active."""
        if self._active:
            self.trigger_deactivate()

    def _infer(self) -> None:
        while not self._halt.is_set():
            self._slot.wait_for_news(_NEWS_TIMEOUT_S)
            self._slot.infer(time.monotonic(), time.time_ns())

    def _control(self) -> None:
        prefer_this_thread()
        self._ticks.run(self._halt, self._tick)

    def _tick(self) -> None:
        action = self._slot.action(time.monotonic(), time.time_ns())
        self._actions.publish(self._message(action))
        steps = action.steps
        self._last = {
            dim.name: 0.0 if steps is None else float(steps[0, index]) for index, dim in enumerate(self._contract.dims)
        }
        self._status.void_reason = action.void_reason
        self._status.actions += int(steps is not None)

    def _message(self, action: Action) -> JointTrajectory:
        self._seq += 1
        message = JointTrajectory(joint_names=[dim.name for dim in self._contract.dims])
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(action.stamp_ns, 1_000_000_000)
        message.header.frame_id = f"{self._found.release.digest.short}/{self._status.epoch}/{self._seq}"
        for number, step in enumerate(() if action.steps is None else action.steps.tolist()):
            seconds, nanoseconds = divmod(round(number * 1e9 / self._contract.control_hz), 1_000_000_000)
            when = Duration(sec=seconds, nanosec=nanoseconds)
            message.points.append(JointTrajectoryPoint(velocities=step, time_from_start=when))
        return message

    # Executor thread

    def _on_command(self, message: String) -> None:
        self._slot.on_command(message.data, time.monotonic())

    def _on_state(self, message: String) -> None:
        try:
            selected = json.loads(message.data)["selected"]
            mine = {"slot": self._name, "release": str(self._found.release.digest)}
            self._selected = selected is not None and all(selected[name] == mine[name] for name in mine)
        except (ValueError, KeyError, TypeError):
            self._selected = False

    # Main thread

    def watch(self) -> None:
        """Keep the status file fresh until the process should end."""
        while not self.stop.wait(_STATUS_PERIOD_S):
            self._status.write()
            self.publish_compatibility(time.monotonic())

    def publish_compatibility(self, now: float) -> None:
        """The seed's status topics, while this slot is the one that drives."""
        profile = self._found.profile
        if self._status.state != "ready" or not self._selected:
            return
        usage = Usage(psutil.cpu_percent(None), psutil.virtual_memory().percent)
        if self._is_due(profile.memory_topic, profile.memory_period_s, now):
            self._memory.publish(Float32(data=usage.memory / 100.0))
        if self._is_due(profile.status_topic, profile.status_period_s, now) and self._last:
            words = self._slot.inference.tokenizer
            body = resource_status(usage, words.hits, words.misses, self._last, time.time())
            self._resource.publish(String(data=json.dumps(body)))

    def _is_due(self, topic: str, period_s: float, now: float) -> bool:
        if now < self._due.get(topic, 0.0):
            return False
        self._due[topic] = now + period_s
        return True


def _with_time(take: Callable[[bytes, float], None], data: bytes) -> None:
    take(data, time.monotonic())


def run(slot: str, layout: Layout) -> int:
    """Run a slot until SIGTERM or a failure. Returns the exit code."""
    epoch = time.monotonic_ns()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    found = find(layout, slot)
    status = Status(layout.slot_status(slot), slot, epoch, found)
    status.write()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = PolicyNode(slot, found, status, stop)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            executor.spin_once(timeout_sec=_NEWS_TIMEOUT_S)

    threads = [threading.Thread(target=node.guard, args=(task,), daemon=True) for task in (spin, node.start)]
    for thread in threads:
        thread.start()
    node.guard(node.watch)
    if node.failure is None:
        status.state = "stopping"
    status.write()
    code = 0 if node.failure is None else exit_code(node.failure)
    _close(node, threads, done)
    if threading.active_count() > 1:
        # A thread that still loads or computes must not hold up the end, nor meet a half-closed interpreter.
        os._exit(code)
    return code


def _close(node: PolicyNode, threads: list[threading.Thread], done: threading.Event) -> None:
    spinning, starting = threads
    starting.join(_JOIN_S)
    node.end()
    done.set()
    spinning.join(_JOIN_S)
    rclpy.try_shutdown()


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="python -m stack.policy", description="Run the policy of one slot.")
    parser.add_argument("--slot", required=True, choices=SLOTS)
    parser.add_argument("--root", type=Path, default=None, help="robot root instead of /var/lib/homeport")
    arguments = parser.parse_args()
    try:
        code = run(arguments.slot, Layout.at(arguments.root))
    except HomeportError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    sys.exit(code)
