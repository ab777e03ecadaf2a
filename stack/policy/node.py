"""The policy node: one process, one slot. Only this module and `ears` know ROS.

A lifecycle node that configures and activates itself. The executor thread keeps the newest raw messages, the inference
thread makes chunks, the control thread publishes the rest of the newest one at the control rate, and the main thread
writes the slot status.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float32, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from stack.monitor.resources import Resources, ResourceSample
from stack.policy.cdr import detections_type
from stack.policy.ears import Take, sensor_inputs
from stack.policy.faults import Publishers
from stack.policy.hearing import SlotInput
from stack.policy.load import Found, find, load
from stack.policy.profile import Topic, TopicFacts
from stack.policy.slot import TickAction
from stack.policy.sources import selects
from stack.policy.status import SlotStatusFile, report

_STATUS_PERIOD_S = 0.25
_NEWS_TIMEOUT_S = 0.1
_JOIN_S = 1.0
_SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_SAMPLE_PERIOD_S = 0.5
_LADDER_PERIOD_S = 1.0
_GRAPH_PERIOD_S = 1.0
# A tick waits at most this long for a thread of its own process, instead of Python's 5 ms.
_SWITCH_S = 0.0005


Told = tuple[Topic, Any]
"""A status topic and its publisher."""


class PolicyNode(LifecycleNode):  # type: ignore[misc]
    """`/slot_x/policy`. `stop` is set when the process should end; `failure` is why, when it did not want to."""

    def __init__(self, slot: str, found: Found, status: SlotStatusFile, stop: threading.Event) -> None:
        super().__init__("policy", namespace=f"/slot_{slot}", start_parameter_services=False, enable_rosout=False)
        self._name, self._found, self._status = slot, found, status
        self.stop = stop
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._halt = threading.Event()
        self._selected = False
        self._seq = 0
        self._last: TickAction | None = None
        self._due: dict[str, float] = {}
        self._resources, self._sample = Resources(), ResourceSample()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Verify, load, warm up and subscribe."""
        self._status.state = "warming"
        self.guard(self._load)
        return TransitionCallbackReturn.FAILURE if self.failure else TransitionCallbackReturn.SUCCESS

    def _load(self) -> None:
        plan, self._slot = load(self._found)
        status = self._status
        publish = self.create_lifecycle_publisher
        status.engine, status.degraded, status.running = plan.key, plan.choice.degraded, self._slot
        self._dims = list(plan.contract.action.names)
        self._actions = publish(JointTrajectory, f"/slot_{self._name}/action", _RELIABLE)
        quality = QoSProfile(depth=self._slot.profile.depth, reliability=ReliabilityPolicy.RELIABLE)
        topics = self._slot.profile.topics
        told = [(topic, publish(Float32 if topic.number else String, topic.name, quality)) for topic in topics]
        self._told_each = [each for each in told if each[0].period_s is None]
        self._told = [each for each in told if each[0].period_s is not None]
        self._subscribe()

    def _subscribe(self) -> None:
        slot = self._slot
        release = str(self._found.release.digest)
        now = time.monotonic

        def on_state(message: String) -> None:
            self._selected = selects(message.data, self._name, release)

        ears = [
            *sensor_inputs(slot, self._found.robot, _timed),
            SlotInput("command", String, "/command", lambda message: slot.on_command(message.data, now()), kept=True),
            SlotInput("state", String, "/safety/state", on_state, kept=True),
        ]
        if slot.profile.detections and (kind := detections_type()):
            take = slot.on_detections
            ears.append(
                SlotInput("detections", kind, "/detections", lambda data: take(data, now()), kept=True, raw=True)
            )
        for ear in ears:
            for quality in (_LATCHED, _SENSOR) if ear.kept else (_SENSOR,):
                self.create_subscription(ear.kind, ear.topic, ear.take, quality, raw=ear.raw)
        self._ears = {ear.name: ear for ear in ears}

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start inference and control."""
        result = super().on_activate(state)
        self._halt.clear()
        # What is loaded lives as long as the process: the collector need not walk it during a tick.
        gc.freeze()
        self._threads = [
            threading.Thread(target=self.guard, args=(run,), daemon=True) for run in (self._infer, self._control)
        ]
        for thread in self._threads:
            thread.start()
        self._status.state = "ready"
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the heartbeat; the supervisor stops the robot when this slot was driving it."""
        self._halt.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._threads = []
        if self._status.state == "ready":
            self._status.state = "warming"
        return super().on_deactivate(state)

    # Threads

    def guard(self, run: Callable[[], None]) -> None:
        """Root of every thread: whatever is raised there ends the heartbeat and is reported."""
        try:
            run()
        except Exception as error:
            self.failure = self.failure or error
            self._status.state = "failed"
            self._status.error = str(error) if isinstance(error, HomeportError) else f"{type(error).__name__}: {error}"
            self._halt.set()
            self.stop.set()

    def start(self) -> None:
        """Configure and activate, once, in a thread of its own: loading may take long, and the status goes on."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS or self.stop.is_set():
            return
        if self.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            raise HomeportError(f"slot {self._name}: could not be activated; look at its log and start it again")

    def end(self) -> None:
        """Deactivate when active."""
        if self._threads:
            self.trigger_deactivate()

    def _infer(self) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted, not warned of
            while not self._halt.is_set():
                self._slot.pace.wait_for_news(_NEWS_TIMEOUT_S)
                if self._slot.infer(time.monotonic(), time.time_ns()):
                    self._say(self._told_each)

    def _control(self) -> None:
        self._slot.ticks.run(self._halt, self._tick)

    def _tick(self, periods: int) -> None:
        action = self._last = self._slot.action(time.monotonic(), time.time_ns(), periods)
        self._actions.publish(self._message(action))
        self._status.void_reason = action.void_reason
        self._status.actions += int(action.steps is not None)

    def _message(self, action: TickAction) -> JointTrajectory:
        self._seq += 1
        message = JointTrajectory(joint_names=self._dims)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(action.stamp_ns, 1_000_000_000)
        message.header.frame_id = f"{self._found.release.digest.short}/{self._status.epoch}/{self._seq}"
        for number, step in enumerate(() if action.steps is None else action.steps.tolist()):
            seconds, nanoseconds = divmod(round(number * 1e9 / self._slot.contract.action.control_hz), 1_000_000_000)
            when = Duration(sec=seconds, nanosec=nanoseconds)
            message.points.append(JointTrajectoryPoint(velocities=step, time_from_start=when))
        if message.points and action.advisory is not None:
            message.points[0].effort = [action.advisory]
        return message

    # Main thread

    def watch(self) -> None:
        """Keep the status file fresh, the ladder and the slower topics going until the process should end."""
        while not self.stop.wait(_STATUS_PERIOD_S):
            self._status.write(time.time_ns())
            now = time.monotonic()
            if self._is_due("sample", _SAMPLE_PERIOD_S, now):
                self._sample = self._resources.sample()
                self._status.machine = self._sample.load
            if self._status.state != "ready":
                continue
            if self._is_due("graph", _GRAPH_PERIOD_S, now):
                self._look(now)
            if self._is_due("ladder", _LADDER_PERIOD_S, now):
                self._slot.pace.adjust(self._sample.load, now)
            due = [each for each in self._told if self._is_due(each[0].name, each[0].period_s or 0.0, now)]
            self._say(due)

    def _look(self, now: float) -> None:
        """Find out who publishes the inputs that are silent."""
        hearing = self._slot.hearing
        for ear in (self._ears[name] for name in hearing.silent(now) if name in self._ears):
            found = self.get_publishers_info_by_topic(ear.topic)
            pairs = [(f"{each.node_namespace.rstrip('/')}/{each.node_name}", each.topic_type) for each in found]
            hearing.publishers[ear.name] = Publishers.of(ear.topic, ear.type_name, pairs)

    def _say(self, topics: list[Told]) -> None:
        """Status topics of the seed, while this slot is the one that drives."""
        if not self._selected or self._last is None:
            return
        facts = self._facts(self._last)
        for topic, publisher in topics:
            body = topic.body(facts)
            publisher.publish(Float32(data=body) if topic.number else String(data=json.dumps(body)))

    def _facts(self, last: TickAction) -> TopicFacts:
        inference, cache = self._slot.inference, self._slot.inference.cache
        values = [0.0] * len(self._dims) if last.steps is None else last.steps[0].tolist()
        action = dict(zip(self._dims, values, strict=True))
        made = inference.cycle_s, inference.identity, self._status.degraded
        return TopicFacts(time.time(), action, *made, cache.hits, cache.misses, self._sample)

    def _is_due(self, what: str, period_s: float, now: float) -> bool:
        if due := now >= self._due.get(what, 0.0):
            self._due[what] = now + period_s
        return due


def _timed(take: Take) -> Callable[[bytes], None]:
    """Give what takes a message the time that it came."""
    return lambda data: take(data, time.monotonic(), time.time_ns())


def run(slot: str, layout: Layout) -> int:
    """Run a slot until SIGTERM or a failure. Returns the exit code."""
    epoch = time.monotonic_ns()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stop.set())
    found = find(layout, slot)
    status = SlotStatusFile(layout.slot_status(slot), slot, epoch, found)
    status.write(time.time_ns())
    sys.setswitchinterval(_SWITCH_S)
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
    status.write(time.time_ns())
    code = report(node.failure, status.error)
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
