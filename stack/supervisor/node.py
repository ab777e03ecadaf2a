"""The supervisor's process: ROS topics, the tick thread, both sockets, and how it ends.

Three threads beside the main one, which only waits for a signal: *executor* stores what arrives, *tick* decides and publishes, *sockets* serves
requests. The last message of a process that is told to end is zero, whatever its state.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import sys
import threading
import time
from functools import partial

import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState, LaserScan
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory

from model_registry.core.cdr import MalformedMessageError
from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.layout import SLOTS, Layout, linked_release, linked_slot
from model_registry.core.robot import Robot
from stack.supervisor import report, thresholds
from stack.supervisor.actions import ActionMessage
from stack.supervisor.cdr import parse_odometry, parse_scan, parse_speed, parse_trajectory
from stack.supervisor.clock import Ticker, become_real_time
from stack.supervisor.envelope import TICK_S
from stack.supervisor.requests import CONTROL, OPERATOR
from stack.supervisor.selection import Selected
from stack.supervisor.sockets import SocketServer
from stack.supervisor.state import Reason
from stack.supervisor.supervisor import Output, Supervisor
from stack.supervisor.writers import Writers

log = logging.getLogger(__name__)

_LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_TICKS_PER_STATE = 5
_TICKS_PER_LOG = 50
_LAST_ZEROS = 5
# A tick waits at most this long for a thread of its own process, instead of Python's 5 ms.
_SWITCH_S = 0.0005


class Topics:
    """Everything the supervisor hears and says on ROS."""

    def __init__(self, node: Node, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        robot = supervisor.robot
        self._cmd_vel = node.create_publisher(Twist, robot.topics["cmd_vel"], 10)
        self._applied = node.create_publisher(TwistStamped, "/safety/applied", 10)
        self._state = node.create_publisher(String, "/safety/state", _KEPT)
        self._status = node.create_publisher(Bool, "/safety_status", 10)
        self._log = node.create_publisher(String, "/safety_log", 10)
        self._command = node.create_publisher(String, "/command", _KEPT)
        self._command_seq = 0
        self._node, self._writers = node, Writers()
        sensors = {
            "scan": (LaserScan, self._on_scan),
            "odom": (Odometry, self._on_odom),
            "battery": (BatteryState, self._on_battery),
        }
        for name, (kind, callback) in sensors.items():
            if supervisor.sources.all[name].required:
                node.create_subscription(kind, robot.topics[name], callback, _LATEST, raw=name != "battery")
        node.create_subscription(String, robot.topics["voice"], lambda text: supervisor.voice.append(text.data), 10)
        node.create_subscription(Bool, "/safety/estop", self._on_estop, 10)
        node.create_subscription(Twist, robot.topics["cmd_vel"], self._on_command, 10, raw=True)
        for slot in SLOTS:
            on_action = partial(self._on_action, slot)
            node.create_subscription(JointTrajectory, f"/slot_{slot}/action", on_action, 10, raw=True)

    # What arrives, in the executor's thread. Without simulated time the ROS clock is the system clock.

    def _on_scan(self, data: bytes) -> None:
        now_s, sources = time.monotonic(), self._supervisor.sources
        try:
            sources.scan(parse_scan(data), now_s, time.time())
        except MalformedMessageError:
            sources.unreadable("scan", now_s)

    def _on_odom(self, data: bytes) -> None:
        now_s, sources = time.monotonic(), self._supervisor.sources
        try:
            found = parse_odometry(data)
            sources.odom(found.speed, found.stamp_s, found.content, now_s, time.time())
        except MalformedMessageError:
            sources.unreadable("odom", now_s)

    def _on_battery(self, message: BatteryState) -> None:
        self._supervisor.sources.charge(float(message.percentage), time.monotonic())

    def _on_estop(self, pressed: Bool) -> None:
        self._supervisor.estop(pressed.data, time.monotonic())

    def _on_command(self, data: bytes, info: dict[str, int | None]) -> None:
        try:
            foreign = self._writers.foreign(info["publication_sequence_number"], parse_speed(data))
        except MalformedMessageError:
            foreign = True
        if foreign:
            self._supervisor.trips.append(Reason.SECOND_WRITER)

    def _on_action(self, slot: str, data: bytes) -> None:
        now_s = time.monotonic()
        try:
            found = parse_trajectory(data)
        except MalformedMessageError as error:
            log.warning("slot %s: %s", slot, error)
            return
        action = ActionMessage(
            arrival_s=now_s,
            ros_s=time.time(),
            header=found.header,
            stamp_s=found.stamp_s,
            names=found.names,
            times=found.times,
            values=found.values,
        )
        self._supervisor.actions.append((slot, action))

    # What a tick says, in the tick thread

    def publish(self, output: Output, now_s: float) -> None:
        """Say what one tick decided: the command first."""
        self.publish_command(output)
        count = self._supervisor.ticks.count
        if output.changed or count % _TICKS_PER_STATE == 0:
            self._state.publish(_text(report.state(self._supervisor, now_s)))
        if output.changed or count * 2 // 5 != (count - 1) * 2 // 5:
            self._status.publish(Bool(data=output.safe))
        for event in output.events:
            log.info("%s: %s (%s)", event["event"], event["reason"], event["state"])
            if "second_writer" in str(event["reason"]):
                log.error("Somebody else writes %s; its publishers: %s", self._cmd_vel.topic_name, self._publishers())
            self._log.publish(_text(event))
        if output.source and count % _TICKS_PER_LOG == 0:
            self._log.publish(_text(report.log_record(self._supervisor, output.command, now_s)))
        command = self._supervisor.voice_command
        if command.seq != self._command_seq or (command.mortal and count % _TICKS_PER_LOG == 0):
            self._command_seq = command.seq
            self._command.publish(_text(command.document(now_s) or {}))

    def _publishers(self) -> str:
        found = self._node.get_publishers_info_by_topic(self._cmd_vel.topic_name)
        return ", ".join(sorted(f"{each.node_namespace.rstrip('/')}/{each.node_name}" for each in found))

    def publish_command(self, output: Output) -> None:
        """`/cmd_vel`, and the same with its origin on `/safety/applied`."""
        linear, angular = output.command
        if not (math.isfinite(linear) and math.isfinite(angular)):
            raise ArithmeticError(f"command {output.command} is not finite")
        self._writers.sent(output.command)
        applied = TwistStamped()
        applied.header.stamp.sec, applied.header.stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)
        applied.header.frame_id = output.source
        applied.twist.linear.x, applied.twist.angular.z = linear, angular
        self._cmd_vel.publish(applied.twist)
        self._applied.publish(applied)


def parameters(node: Node, supervisor: Supervisor) -> None:
    """The thresholds as ROS parameters with descriptions and ranges."""
    now = supervisor.envelope.thresholds
    for name in thresholds.NAMES:
        low, high = thresholds.span(name, supervisor.robot)
        ranges = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        told = ParameterDescriptor(description=thresholds.DESCRIPTIONS[name], floating_point_range=ranges)
        node.declare_parameter(name, getattr(now, name), told)

    def on_set(given: list[Parameter]) -> SetParametersResult:
        try:
            for parameter in given:
                supervisor.adjust(parameter.name, float(parameter.value))
        except (HomeportError, TypeError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)


def _text(document: dict[str, object]) -> String:
    return String(data=dump(document).decode())


class Process:
    """One supervisor at work: starts its threads, waits, and ends with zero."""

    def __init__(self, supervisor: Supervisor, sockets: SocketServer) -> None:
        self._supervisor = supervisor
        self._sockets = sockets
        self._node = rclpy.create_node("homeport_supervisor", enable_rosout=False)
        self._topics = Topics(self._node, supervisor)
        parameters(self._node, supervisor)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._spinning = threading.Thread(target=self._spin, name="executor", daemon=True)
        self._serving = threading.Thread(target=self._serve_sockets, name="sockets", daemon=True)
        self._ticker = Ticker(TICK_S, self._tick, self._last, supervisor.ticks)
        self._failing = False

    def serve(self, ending: threading.Event) -> int:
        """Run until `ending` is set. Returns the exit code: 1 when the tick thread died."""
        # What exists now lives as long as the process: the collector need not walk it during a tick.
        gc.collect()
        gc.freeze()
        for thread in (self._spinning, self._ticker, self._serving):
            thread.start()
        while self._ticker.is_alive() and not ending.wait(0.5):
            continue
        code = 0 if self._ticker.is_alive() else 1
        self._sockets.stop()
        self._serving.join(2.0)
        self._ticker.stop(2.0)
        self._executor.shutdown(timeout_sec=1.0)
        self._spinning.join(1.0)
        self._node.destroy_node()
        return code

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
        except Exception:
            log.exception("Receiving failed; the robot stops")
            self._supervisor.trips.append(Reason.EXCEPTION)

    def _serve_sockets(self) -> None:
        os.sched_setscheduler(
            0, os.SCHED_OTHER, os.sched_param(0)
        )  # whoever talks to a socket has no claim on the processor
        while not self._sockets.ending:
            try:
                self._sockets.serve()
            except Exception:
                log.exception("Serving the sockets failed once and goes on")

    def _tick(self) -> None:
        now_s = time.monotonic()
        try:
            self._topics.publish(self._supervisor.tick(now_s, time.time()), now_s)
            self._failing = False
        except Exception:
            self._topics.publish_command(self._supervisor.stop())
            self._supervisor.trips.append(Reason.EXCEPTION)
            if not self._failing:
                log.exception("A tick failed; the robot stops")
            self._failing = True

    def _last(self) -> None:
        for _ in range(_LAST_ZEROS):
            self._topics.publish(self._supervisor.stop(), time.monotonic())
            time.sleep(TICK_S)


def run(layout: Layout) -> int:
    """Supervise one robot until SIGTERM or SIGINT. Returns the exit code. Raises HomeportError when it cannot start."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    supervisor = Supervisor(Robot.load(layout.robot_toml), committed(layout))
    # Threads inherit it: what receives for the middleware must not wait behind a busy machine either.
    supervisor.ticks.scheduler = become_real_time()
    sys.setswitchinterval(_SWITCH_S)
    # The sockets come first: they are how a second supervisor finds out that it is one.
    paths = {CONTROL: layout.control_socket, OPERATOR: layout.operator_socket}
    sockets = SocketServer(paths, supervisor.tickets.append)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        return Process(supervisor, sockets).serve(ending)
    finally:
        rclpy.try_shutdown()


def committed(layout: Layout) -> Selected | None:
    """The slot and release that `current` names; None before the first COMMIT, or when the links say nothing usable."""
    slot = linked_slot(layout)
    try:
        release = None if slot is None else linked_release(layout.slot(slot))
    except UsageError as error:
        log.warning("No slot is selected: %s", error)
        return None
    return Selected(slot, release) if slot is not None and release is not None else None
