"""The supervisor's process: ROS topics, the tick thread, both sockets, and how it ends.

Five threads beside the main one, which only waits for a signal: *tick* takes what has arrived, decides and publishes,
*sockets* serves requests, *executor* the parameters and looks at the ROS graph, *latch* writes what is latched to a
file, *log* carries what the process writes to its standard error. All but *tick* are one step below it (`priority`).
The last message of a process that is told to end is zero, whatever its state.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import time

import rclpy
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.supervisor import heap, latch, priority, thresholds
from stack.supervisor.clock import Ticker
from stack.supervisor.envelope import TICK_S
from stack.supervisor.guarded import Guarded
from stack.supervisor.hang import Watchdog
from stack.supervisor.requests import CONTROL, OPERATOR
from stack.supervisor.selection import committed
from stack.supervisor.sockets import SocketServer
from stack.supervisor.state import Reason
from stack.supervisor.supervisor import Supervisor
from stack.supervisor.topics import Topics

log = logging.getLogger(__name__)

_LOOK_S = 0.5
_LAST_ZEROS = 5
# A tick waits at most this long for a thread of its own process, instead of Python's 5 ms.
_SWITCH_S = 0.0005
# Nothing of the middleware's own log goes to a file, whose disk may be full or stand still.
_ROS_ARGUMENTS = ("--ros-args", "--disable-external-lib-logs", "--disable-rosout-logs")


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


class Process:
    """One supervisor at work: starts its threads, waits, and ends with zero."""

    def __init__(self, supervisor: Supervisor, sockets: SocketServer, latch_writer: latch.LatchWriter) -> None:
        self._supervisor = supervisor
        self._sockets = sockets
        self._latch = latch_writer
        self._node = rclpy.create_node("homeport_supervisor", enable_rosout=False)
        self._topics = Topics(self._node, supervisor)
        parameters(self._node, supervisor)
        self._node.create_timer(_LOOK_S, self._topics.look)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._ending = False
        self._spinning = threading.Thread(target=self._spin, name="executor", daemon=True)
        self._serving = threading.Thread(target=self._serve_sockets, name="sockets", daemon=True)
        guarded = Guarded(supervisor, self._topics, latch_writer.note)
        self._ticker = Ticker(TICK_S, guarded.decide, guarded.act, self._last, supervisor.ticks)

    def serve(self, ending: threading.Event, terminal: int) -> int:
        """Run until `ending` is set. Returns the exit code: 1 when it can no longer decide or hear.

        `terminal` is the descriptor that a hung process writes its last words to.
        """
        # What exists now lives as long as the process: the collector need not walk it during a tick.
        gc.collect()
        gc.freeze()
        for thread in (self._latch, self._spinning, self._ticker, self._serving):
            thread.start()
        priority.step_back()
        watchdog = Watchdog(terminal=terminal)
        while self._alive and not ending.wait(0.5):
            watchdog.look(self._supervisor.ticks.count)
        watchdog.end()
        code = 0 if self._alive else 1
        self._ticker.stop(2.0)  # zero first, everything else after it
        self._sockets.stop()
        self._latch.stop(1.0)
        self._serving.join(2.0)
        self._ending = True
        self._executor.shutdown(timeout_sec=1.0)
        self._spinning.join(1.0)
        self._topics.close()
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
            self._supervisor.stops.trip(Reason.EXCEPTION)

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
    latched = latch.read(layout.latched)
    supervisor = Supervisor(Robot.load(layout.robot_toml), committed(layout), latched)
    supervisor.ticks.scheduler = scheduler
    sys.setswitchinterval(_SWITCH_S)
    # The sockets come first: they are how a second supervisor finds out that it is one.
    paths = {CONTROL: layout.control_socket, OPERATOR: layout.operator_socket}
    sockets = SocketServer(paths, supervisor.tickets.append)
    heap.give_back()
    rclpy.init(args=[*_ROS_ARGUMENTS], signal_handler_options=SignalHandlerOptions.NO)
    try:
        return Process(supervisor, sockets, latch.LatchWriter(layout.latched, latched)).serve(ending, terminal)
    finally:
        rclpy.try_shutdown()
