"""Cases of stops that must be heard.

E-stop buttons and spoken words, however they are sent, and what speaks in another's place.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any

from geometry_msgs.msg import Twist
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, Empty, String
from trajectory_msgs.msg import JointTrajectory

from tests.fakes.ros import wait_until
from tests.testbed.deeds import say
from tests.testbed.injection import Case, Deed
from tests.testbed.played import PlayedRobot

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHING = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT_LATCHING = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
OFFERS = {"best_effort": BEST_EFFORT, "latching": LATCHING, "best_effort_latching": BEST_EFFORT_LATCHING}
FLOOD, FLOODS, PAUSE_S = 2000, 5, 0.4
STOP_MS = 150.0
RAMP_MS = 150.0


def stranger(robot: PlayedRobot, topic: str, kind: type, qos: Any = 10) -> Any:
    """Another publisher, connected to the supervisor; `dismiss` takes it away."""
    publisher = robot.ros.publisher(topic, kind, qos)
    wait_until(lambda: publisher.get_subscription_count() >= 1, 5.0, f"the other publisher of {topic} to be connected")
    robot.strangers.append(publisher)
    return publisher


def dismiss(robot: PlayedRobot) -> None:
    """Everybody who was added goes, after every button has let go."""
    robot.estop.publish(Bool(data=False))
    for publisher in robot.strangers:
        if publisher.msg_type is Bool:
            publisher.publish(Bool(data=False))
    wait_until(lambda: not any(b["pressed"] for b in robot.status["buttons"]), 5.0, "every button to be let go")
    for publisher in robot.strangers:
        robot.ros.node.destroy_publisher(publisher)
    robot.strangers.clear()


def pressed_by(qos: Any) -> Deed:
    """A button of its own is pressed once."""
    return lambda robot: stranger(robot, "/safety/estop", Bool, qos).publish(Bool(data=True))


def pressed_then(count: int) -> Deed:
    """The button is pressed, and the same publisher sends `count` more messages at once."""

    def deed(robot: PlayedRobot) -> None:
        robot.estop.publish(Bool(data=True))
        for _ in range(count):
            robot.estop.publish(Bool(data=False))

    return deed


def pressed_among_others(robot: PlayedRobot) -> None:
    """One button is pressed while another one says `False` at 200 Hz."""
    other = stranger(robot, "/safety/estop", Bool)

    def chatter() -> None:
        pause = threading.Event()
        for _ in range(200):
            other.publish(Bool(data=False))
            pause.wait(0.005)

    thread = threading.Thread(target=chatter, daemon=True)
    thread.start()
    robot.estop.publish(Bool(data=True))
    thread.join(3.0)


def flood(topic: str, kind: type, message: Any) -> Deed:
    """More messages than the queue holds, sent while the supervisor is paused.

    How many there are does not depend on how fast this machine sends.
    """

    def deed(robot: PlayedRobot) -> None:
        publisher = stranger(robot, topic, kind, QoSProfile(depth=FLOOD))
        for _ in range(FLOODS):
            end = time.monotonic() + PAUSE_S
            robot.supervisor.signal(signal.SIGSTOP)
            try:
                for _ in range(FLOOD):
                    publisher.publish(message)
                    if time.monotonic() > end:
                        break
            finally:
                robot.supervisor.signal(signal.SIGCONT)
            with contextlib.suppress(AssertionError):
                return wait_until(lambda: robot.status["latched"], 0.5, "the supervisor to latch")

    return deed


def said_by(text: str, qos: Any) -> Deed:
    return lambda robot: stranger(robot, "/voice_command", String, qos).publish(String(data=text))


def said_then(text: str, count: int) -> Deed:
    """A text, and `count` others behind it at once."""

    def deed(robot: PlayedRobot) -> None:
        robot.voice.publish(String(data=text))
        for number in range(count):
            robot.voice.publish(String(data=f"go to the red pillar {number}"))

    return deed


def spoken_again(robot: PlayedRobot) -> None:
    """A command of its own, once the robot stands."""
    robot.voice.publish(String(data="go on"))


def writes_command(qos: Any) -> Deed:
    """Somebody else's command, above every limit, sent once."""

    def deed(robot: PlayedRobot) -> None:
        message = Twist()
        message.linear.x = 1.5
        stranger(robot, "/cmd_vel", Twist, qos).publish(message)

    return deed


def speaks_for_slot(epoch_ahead: int = 0, sequence: int = 1, header: str = "", qos: Any = 10) -> Deed:
    """One action of a process that knows the release of slot a."""

    def deed(robot: PlayedRobot) -> None:
        played = robot.slots["a"]
        publisher = stranger(robot, "/slot_a/action", JointTrajectory, qos)
        message = played.message()
        for point in message.points:
            point.velocities = [0.5, 0.0]
        message.header.frame_id = header or f"{played.release.short}/{played.epoch + epoch_ahead}/{sequence}"
        publisher.publish(message)

    return deed


def other_type(topic: str) -> Deed:
    """A publisher of another type: ROS connects it to nobody."""

    return lambda robot: robot.elsewhere.publisher(topic, Empty)


def retype(robot: PlayedRobot) -> None:
    """Whoever published another type goes."""
    for publisher in list(robot.elsewhere.node.publishers):
        robot.elsewhere.node.destroy_publisher(publisher)


NEWER, OLDER = 1_000, -1_000_000_000
CASES = (
    *(
        Case(f"estop_pressed_{name}", pressed_by(qos), "LATCHED", "estop", STOP_MS, dismiss)
        for name, qos in OFFERS.items()
    ),
    Case("estop_pressed_then_10", pressed_then(10), "LATCHED", "estop", STOP_MS),
    Case("estop_pressed_then_200", pressed_then(200), "LATCHED", "estop", STOP_MS),
    Case("estop_pressed_among_others", pressed_among_others, "LATCHED", "estop", STOP_MS, dismiss),
    Case("estop_flooded", flood("/safety/estop", Bool, Bool(data=False)), "LATCHED", "estop", 900.0, dismiss),
    Case("estop_of_another_type", other_type("/safety/estop"), "SAFE_STOP", "unheard", 1500.0, retype),
    Case("voice_of_another_type", other_type("/voice_command"), "SAFE_STOP", "unheard", 1500.0, retype),
    Case("scan_of_another_type", other_type("/scan"), "RUN", "", None, retype),
    *(
        Case(f"voice_says_stop_{name}", said_by("Stop!", qos), "ARMED", "", STOP_MS + RAMP_MS, dismiss)
        for name, qos in OFFERS.items()
    ),
    Case("voice_says_stop_twice", say("Stop! Stop!"), "ARMED", "", STOP_MS + RAMP_MS),
    Case("voice_says_no_stop", say("No, stop!"), "ARMED", "", STOP_MS + RAMP_MS),
    Case("voice_says_stop_in_full_width", say("ＳＴＯＰ。"), "ARMED", "", STOP_MS + RAMP_MS),
    Case("voice_says_do_not_stop", say("do not stop"), "ARMED", "", STOP_MS + RAMP_MS),
    Case("voice_says_unstoppable", say("go on, unstoppable machine"), "RUN", "", None),
    Case("voice_says_emergency_stop_twice", say("Emergency stop! Emergency stop!"), "LATCHED", "estop", STOP_MS),
    Case("voice_says_stop_it_is_an_emergency", say("stop, it is an emergency"), "LATCHED", "estop", STOP_MS),
    Case("voice_says_stop_then_10", said_then("stop", 10), "ARMED", "", STOP_MS + RAMP_MS, spoken_again),
    Case("voice_says_emergency_stop_then_10", said_then("emergency stop", 10), "LATCHED", "estop", STOP_MS),
    Case("voice_flooded", flood("/voice_command", String, String(data="go")), "LATCHED", "estop", 900.0, dismiss),
    *(
        Case(f"second_writer_{name}", writes_command(qos), "LATCHED", "second_writer", STOP_MS, dismiss)
        for name, qos in OFFERS.items()
    ),
    Case("slot_spoken_for_by_a_newer_epoch", speaks_for_slot(NEWER), "LATCHED", "second_writer", STOP_MS, dismiss),
    Case("slot_spoken_for_by_an_older_epoch", speaks_for_slot(OLDER), "LATCHED", "second_writer", STOP_MS, dismiss),
    Case(
        "slot_spoken_for_at_the_last_sequence",
        speaks_for_slot(0, 10**19 - 1),
        "LATCHED",
        "second_writer",
        STOP_MS,
        dismiss,
    ),
    Case("slot_spoken_for_by_nobody", speaks_for_slot(header="hello"), "LATCHED", "second_writer", STOP_MS, dismiss),
    Case(
        "slot_spoken_for_best_effort",
        speaks_for_slot(NEWER, qos=BEST_EFFORT),
        "LATCHED",
        "second_writer",
        STOP_MS,
        dismiss,
    ),
)
