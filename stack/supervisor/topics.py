"""Everything the supervisor hears and says on ROS, in the tick thread.

Who publishes what it hears is looked at by the executor.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.subscription import Subscription
from sensor_msgs.msg import BatteryState, LaserScan
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory

from model_registry.core.documents import dump
from model_registry.core.layout import SLOTS
from stack.supervisor import report
from stack.supervisor.ears import GID_BYTES, Ear, gid_of
from stack.supervisor.graph import Endpoint, TopicView, node_name
from stack.supervisor.hearing import Hearing
from stack.supervisor.inputs import Arrived, InputTopic
from stack.supervisor.stops import ESTOP_TOPIC
from stack.supervisor.supervisor import Output, Supervisor

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

log = logging.getLogger(__name__)

_KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_DEPTH = 10
_DEEP = 512
"""For topics on which no message may be lost: more than five seconds of a button that speaks at 100 Hz."""
_TICKS_PER_STATE = 5
_TICKS_PER_LOG = 50


class _Polled(CallbackGroup):  # type: ignore[misc]
    """Subscriptions that no executor waits for.

    The tick thread takes what has arrived, which costs a fraction of being woken for every message.
    """

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        return


class Topics:
    """`take`, `publish` and `publish_command` belong to the tick thread, `look` to the executor."""

    def __init__(self, node: Node, supervisor: Supervisor) -> None:
        self._node = node
        self._supervisor = supervisor
        robot = supervisor.robot
        self._cmd_vel = node.create_publisher(Twist, robot.topics["cmd_vel"], 10)
        self._applied = node.create_publisher(TwistStamped, "/safety/applied", 10)
        self._state = node.create_publisher(String, "/safety/state", _KEPT)
        self._status = node.create_publisher(Bool, "/safety_status", 10)
        self._log = node.create_publisher(String, "/safety_log", 10)
        self._command = node.create_publisher(String, "/command", _KEPT)
        self._command_seq = 0
        self._taken_s = time.monotonic()
        self._group = _Polled()
        self._told: set[str] = set()
        self._ears: list[Ear] = []
        self._inputs: list[InputTopic] = []
        self._heard: dict[str, tuple[type, list[Subscription]]] = {}
        self._listen(Hearing(supervisor, gid_of(self._cmd_vel.handle)))

    def _listen(self, hearing: Hearing) -> None:
        """Subscribe to everything, with best effort at least.

        That matches every publisher, and is enough for what comes many times a second.

        A topic whose single messages count is heard reliably as well, and asked for what its publishers have kept.
        """
        topics = self._supervisor.robot.topics
        sources = self._supervisor.sources.all
        live = ReliabilityPolicy.BEST_EFFORT
        sure = ReliabilityPolicy.RELIABLE
        kept = DurabilityPolicy.TRANSIENT_LOCAL
        once = (QoSProfile(depth=_DEPTH, reliability=live),)
        late_too = (*once, QoSProfile(depth=_DEPTH, reliability=sure, durability=kept))
        deep = (
            QoSProfile(depth=_DEEP, reliability=live),
            QoSProfile(depth=_DEEP, reliability=sure),
            QoSProfile(depth=_DEEP, reliability=sure, durability=kept),
        )
        sensors: dict[str, tuple[type, Callable[[Arrived], None], Sequence[QoSProfile]]] = {
            "scan": (LaserScan, hearing.scan, once),
            "odom": (Odometry, hearing.odom, once),
            "battery": (BatteryState, hearing.battery, late_too),
        }
        for name, (kind, on_message, offers) in sensors.items():
            if sources[name].required:
                self._hear(kind, topics[name], on_message, offers)
        for kind, topic, on_message in ((String, topics["voice"], hearing.voice), (Bool, ESTOP_TOPIC, hearing.estop)):
            self._hear(kind, topic, on_message, deep, partial(hearing.too_many, topic))
        self._hear(Twist, topics["cmd_vel"], hearing.command, once)
        for slot in SLOTS:
            self._hear(JointTrajectory, f"/slot_{slot}/action", partial(hearing.action, slot), once)

    def _hear(
        self,
        kind: type,
        topic: str,
        on_message: Callable[[Arrived], None],
        offers: Sequence[QoSProfile],
        on_overflow: Callable[[], None] | None = None,
    ) -> None:
        # A publisher that one of them does not match is matched by another: nothing to warn of.
        silent = SubscriptionEventCallbacks(use_default_callbacks=False)
        create = partial(
            self._node.create_subscription,
            kind,
            topic,
            print,
            callback_group=self._group,
            event_callbacks=silent,
            raw=True,
        )
        subscriptions = [create(qos) for qos in offers]
        ears = [Ear(subscription.handle) for subscription in subscriptions]
        self._ears += ears
        self._inputs.append(InputTopic(ears, offers[0].depth, on_message, on_overflow))
        self._heard[topic] = kind, subscriptions

    def take(self, now_s: float, ros_s: float) -> None:
        """Hand what came since the last tick to the supervisor."""
        since_s = self._taken_s
        self._taken_s = now_s
        for heard in self._inputs:
            heard.take(since_s, now_s, ros_s)

    def close(self) -> None:
        """Hear no more; the tick thread has ended."""
        for ear in self._ears:
            ear.close()

    def look(self) -> None:
        """Called by the executor: who publishes what we hear, and who of them is not connected."""
        stops = self._supervisor.stops
        views = [self._view(topic, kind, subscriptions) for topic, (kind, subscriptions) in self._heard.items()]
        stops.unheard = stops.graph.look(views, time.monotonic())
        sentences = {*stops.unheard.sentences, *stops.strangers}
        for sentence in sorted(sentences - self._told):
            log.error("%s", sentence)
        self._told = sentences

    def _view(self, topic: str, kind: type, subscriptions: list[Subscription]) -> TopicView:
        live = subscriptions[0]
        ends = []
        for end in self._node.get_publishers_info_by_topic(live.topic_name):
            fits, reason = qos_check_compatible(end.qos_profile, live.qos_profile)
            gid = bytes(end.endpoint_gid[:GID_BYTES])
            mismatch = reason if fits == QoSCompatibility.ERROR else None
            ends.append(Endpoint(gid, node_name(end.node_namespace, end.node_name, gid), end.topic_type, mismatch))
        type_name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        # Humble does not tell how many are connected.
        count = getattr(live, "get_publisher_count", lambda: len(ends))
        return TopicView(topic, type_name, tuple(ends), count())

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
            self._log.publish(_text(event))
        if output.source and count % _TICKS_PER_LOG == 0:
            self._log.publish(_text(report.log_record(self._supervisor, output.command, now_s)))
        command = self._supervisor.voice_command
        if command.seq != self._command_seq or (command.mortal and count % _TICKS_PER_LOG == 0):
            self._command_seq = command.seq
            self._command.publish(_text(command.document(now_s) or {}))

    def publish_command(self, output: Output, deadline_s: float) -> None:
        """`/cmd_vel`, and the same on `/safety/applied` with its origin, stamped with the tick's deadline."""
        linear, angular = output.command
        if not math.isfinite(linear + angular):
            raise ArithmeticError(f"command {output.command} is not finite")
        applied = TwistStamped()
        late_ns = int((time.monotonic() - deadline_s) * 1e9)
        applied.header.stamp.sec, applied.header.stamp.nanosec = divmod(time.time_ns() - late_ns, 1_000_000_000)
        applied.header.frame_id = output.source
        applied.twist.linear.x = linear
        applied.twist.angular.z = angular
        self._cmd_vel.publish(applied.twist)
        self._applied.publish(applied)


def _text(document: dict[str, object]) -> String:
    return String(data=dump(document).decode())
