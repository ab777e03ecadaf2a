"""The supervisor's process: ROS topics, the tick thread, both sockets, and how it ends.

Four threads beside the main one, which only waits for a signal: *tick* takes what has arrived, decides and publishes, *sockets* serves requests,
*executor* the parameters, *log* carries what the process writes to its standard error. All but *tick* are one step below it (`priority`). The last
message of a process that is told to end is zero, whatever its state.
"""

from __future__ import annotations

import gc
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.callback_groups import CallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import BatteryState, LaserScan
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory

from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS, Layout
from model_registry.core.robot import Robot
from stack.supervisor import memory, priority, report, thresholds
from stack.supervisor.clock import Ticker
from stack.supervisor.envelope import TICK_S
from stack.supervisor.guarded import Guarded
from stack.supervisor.hang import Watchdog
from stack.supervisor.hearing import Hearing
from stack.supervisor.requests import CONTROL, OPERATOR
from stack.supervisor.selection import committed
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
_MOST_A_TICK = 10
# A tick waits at most this long for a thread of its own process, instead of Python's 5 ms.
_SWITCH_S = 0.0005
# Nothing of the middleware's own log goes to a file, whose disk may be full or stand still.
_ROS_ARGUMENTS = ("--ros-args", "--disable-external-lib-logs", "--disable-rosout-logs")


class _Polled(CallbackGroup):  # type: ignore[misc]
    """Subscriptions that no executor waits for: the tick thread takes what has arrived, which costs a fraction of being woken for every message."""

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        return


class Topics:
    """Everything the supervisor hears and says on ROS, in the tick thread."""

    def __init__(self, node: Node, supervisor: Supervisor) -> None:
        self._node, self._supervisor, self._writers = node, supervisor, Writers()
        hearing = Hearing(supervisor, self._writers)
        robot = supervisor.robot
        self._cmd_vel = node.create_publisher(Twist, robot.topics["cmd_vel"], 10)
        self._applied = node.create_publisher(TwistStamped, "/safety/applied", 10)
        self._state = node.create_publisher(String, "/safety/state", _KEPT)
        self._status = node.create_publisher(Bool, "/safety_status", 10)
        self._log = node.create_publisher(String, "/safety_log", 10)
        self._command = node.create_publisher(String, "/command", _KEPT)
        self._command_seq = 0
        self._taken_s = time.monotonic()
        self._ears: list[tuple[Subscription, Callable[[Any, float, float, int | None], None]]] = []
        group = _Polled()

        def hear(kind: type, topic: str, on_message: Callable[..., None], qos: QoSProfile | int, raw: bool) -> None:
            ear = node.create_subscription(kind, topic, print, qos, callback_group=group, raw=raw)
            self._ears.append((ear, on_message))

        sensors: dict[str, tuple[type, Callable[..., None]]] = {
            "scan": (LaserScan, hearing.scan),
            "odom": (Odometry, hearing.odom),
            "battery": (BatteryState, hearing.battery),
        }
        for name, (kind, on_message) in sensors.items():
            if supervisor.sources.all[name].required:
                hear(kind, robot.topics[name], on_message, _LATEST, raw=name != "battery")
        hear(String, robot.topics["voice"], hearing.voice, 10, raw=False)
        hear(Bool, "/safety/estop", hearing.estop, 10, raw=False)
        hear(Twist, robot.topics["cmd_vel"], hearing.command, 10, raw=True)
        for slot in SLOTS:
            hear(JointTrajectory, f"/slot_{slot}/action", partial(hearing.action, slot), 10, raw=True)

    def take(self, now_s: float, ros_s: float) -> None:
        """Hand what came since the last tick to the supervisor, each with the time (monotonic s) at which the middleware had it.

        Without simulated time the ROS clock is the system clock.
        """
        since_s, self._taken_s = self._taken_s, now_s
        for ear, on_message in self._ears:
            for _ in range(_MOST_A_TICK):
                with ear.handle:
                    taken = ear.handle.take_message(ear.msg_type, ear.raw)
                if taken is None:
                    break
                message, info = taken
                waited_s = (
                    ros_s - info["received_timestamp"] * 1e-9
                )  # a clock that was set meanwhile makes nonsense of it
                arrival_s = now_s - min(max(waited_s, 0.0), now_s - since_s)
                on_message(message, arrival_s, ros_s - (now_s - arrival_s), info.get("publication_sequence_number"))

    def publish(self, output: Output, now_s: float, deadline_s: float) -> None:
        """Say what one tick decided: the command first."""
        self.publish_command(output, deadline_s)
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

    def publish_command(self, output: Output, deadline_s: float) -> None:
        """`/cmd_vel`, and the same on `/safety/applied` with its origin, stamped with the tick's deadline."""
        linear, angular = output.command
        if not math.isfinite(linear + angular):
            raise ArithmeticError(f"command {output.command} is not finite")
        self._writers.sent(output.command)
        applied, late_ns = TwistStamped(), int((time.monotonic() - deadline_s) * 1e9)
        applied.header.stamp.sec, applied.header.stamp.nanosec = divmod(time.time_ns() - late_ns, 1_000_000_000)
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
            supervisor.adjust({parameter.name: float(parameter.value) for parameter in given})
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
        self._ending = False
        self._spinning = threading.Thread(target=self._spin, name="executor", daemon=True)
        self._serving = threading.Thread(target=self._serve_sockets, name="sockets", daemon=True)
        guarded = Guarded(supervisor, self._topics)
        self._ticker = Ticker(TICK_S, guarded.decide, guarded.act, self._last, supervisor.ticks)

    def serve(self, ending: threading.Event, terminal: int) -> int:
        """Run until `ending` is set. Returns the exit code: 1 when it can no longer decide or hear.

        `terminal` is the descriptor that a hung process writes its last words to.
        """
        # What exists now lives as long as the process: the collector need not walk it during a tick.
        gc.collect()
        gc.freeze()
        for thread in (self._spinning, self._ticker, self._serving):
            thread.start()
        priority.step_back()
        watchdog = Watchdog(terminal=terminal)
        while self._alive and not ending.wait(0.5):
            watchdog.look(self._supervisor.ticks.count)
        watchdog.end()
        code = 0 if self._alive else 1
        self._ticker.stop(2.0)  # zero first, everything else after it
        self._sockets.stop()
        self._serving.join(2.0)
        self._ending = True
        self._executor.shutdown(timeout_sec=1.0)
        self._spinning.join(1.0)
        self._node.destroy_node()
        return code

    @property
    def _alive(self) -> bool:
        """Whether it decides and hears; a supervisor that does not is better started anew."""
        return self._ticker.is_alive() and self._spinning.is_alive()

    def _spin(self) -> None:
        priority.step_back("executor")
        share = priority.Share()
        try:
            while not self._ending:
                self._executor.spin_once()
                share.rest()
        except ExternalShutdownException:
            return
        except Exception:
            log.exception("Receiving failed; the robot stops")
            self._supervisor.trips.append(Reason.EXCEPTION)

    def _serve_sockets(self) -> None:
        priority.step_back("sockets")
        while not self._sockets.ending:
            try:
                self._sockets.serve()
            except Exception:
                log.exception("Serving the sockets failed once and goes on")

    def _last(self) -> None:
        for _ in range(_LAST_ZEROS):
            now_s = time.monotonic()
            self._topics.publish(self._supervisor.stop(), now_s, now_s)
            time.sleep(TICK_S)


def run(layout: Layout, scheduler: str, terminal: int) -> int:
    """Supervise one robot until SIGTERM or SIGINT. Returns the exit code. Raises HomeportError when it cannot start.

    `scheduler` is what `become_real_time` said; `terminal` the real standard error (`Logs`).
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    supervisor = Supervisor(Robot.load(layout.robot_toml), committed(layout))
    supervisor.ticks.scheduler = scheduler
    sys.setswitchinterval(_SWITCH_S)
    # The sockets come first: they are how a second supervisor finds out that it is one.
    paths = {CONTROL: layout.control_socket, OPERATOR: layout.operator_socket}
    sockets = SocketServer(paths, supervisor.tickets.append)
    memory.give_back()
    rclpy.init(args=[*_ROS_ARGUMENTS], signal_handler_options=SignalHandlerOptions.NO)
    try:
        return Process(supervisor, sockets).serve(ending, terminal)
    finally:
        rclpy.try_shutdown()
