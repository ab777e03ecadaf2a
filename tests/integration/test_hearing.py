"""Stops on real topics: heard whatever their publisher offers, kept over a restart, and publishers that cannot be heard
are named.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, Empty, String

from model_registry.core.errors import RefusedError
from tests.fakes.ros import REPOSITORY, Process, wait_until
from tests.testbed.faults_stops import BEST_EFFORT, LATCHING, OFFERS, stranger
from tests.testbed.played import ROBOT, PlayedRobot

DEMANDING = QoSProfile(
    depth=1,
    deadline=Duration(seconds=1),
    lifespan=Duration(seconds=5),
    liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
    liveliness_lease_duration=Duration(seconds=2),
)
PARTITION = """
import rclpy
from rclpy.executors import ExternalShutdownException
from std_msgs.msg import Bool
rclpy.init()
node = rclpy.create_node("hidden_button")
publisher = node.create_publisher(Bool, "/safety/estop", 10)
try:
    rclpy.spin(node)
except ExternalShutdownException:
    pass
"""
"""It takes its leave when it is told to end: who only vanishes is missed after half a minute."""


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[PlayedRobot]:
    with PlayedRobot(tmp_path) as made:
        yield made


def latched(robot: PlayedRobot, reason: str = "estop") -> bool:
    status = robot.try_status()
    return status is not None and status["state"] == "LATCHED" and reason in status["latched"]


@pytest.mark.parametrize("qos", [*OFFERS.values(), DEMANDING], ids=[*OFFERS, "demanding"])
def test_a_button_pressed_before_the_supervisor_hears_it_stops_or_waits_for_it(robot: PlayedRobot, qos: object) -> None:
    """Whoever keeps its message is heard also by a supervisor that starts later, and after each restart."""
    robot.wait_healthy()
    button = stranger(robot, "/safety/estop", Bool, qos)
    button.publish(Bool(data=True))
    wait_until(lambda: latched(robot), 3.0, "the button to be heard")
    robot.supervisor.signal(signal.SIGKILL)
    robot.supervisor.wait(5.0)
    robot.layout.latched.unlink()  # only what the button itself keeps
    robot.start_supervisor()
    if qos is LATCHING:
        wait_until(lambda: latched(robot), 5.0, "the kept message to be heard")
        named = {"publisher": "/test", "pressed": True, "gone": False}
        wait_until(lambda: named in robot.status["buttons"], 3.0, "the button's name")
    else:
        wait_until(lambda: button.publish(Bool(data=True)) or latched(robot), 5.0, "the button to be heard again")


def test_a_latch_survives_a_supervisor_that_is_killed(robot: PlayedRobot) -> None:
    robot.drive()
    robot.estop.publish(Bool(data=True))
    robot.estop.publish(Bool(data=False))
    wait_until(lambda: latched(robot), 3.0, "the button to be heard")
    wait_until(lambda: "estop" in robot.layout.latched.read_text(), 3.0, "the latch to be written")
    robot.supervisor.signal(signal.SIGKILL)
    robot.supervisor.wait(5.0)
    robot.start_supervisor()
    wait_until(lambda: latched(robot), 3.0, "the latch to be read")
    wait_until(lambda: robot.status["blocking"] == ["estop"], 15.0, "nothing else to block")
    with pytest.raises(RefusedError, match="estop"):
        robot.operator("arm")
    assert robot.operator("reset")["state"] == "SAFE_STOP"
    robot.drive()


def test_two_buttons_are_kept_apart_and_one_that_vanished_while_pressed_stays_pressed(robot: PlayedRobot) -> None:
    robot.wait_healthy()
    rear = stranger(robot, "/safety/estop", Bool)
    rear.publish(Bool(data=True))
    wait_until(lambda: latched(robot), 3.0, "the rear button to be heard")
    robot.estop.publish(Bool(data=False))
    wait_until(
        lambda: [b["publisher"] for b in robot.status["buttons"]] == ["/test", "/test"], 3.0, "both buttons to be known"
    )
    with pytest.raises(RefusedError, match="let go the e-stop of /test"):
        robot.operator("reset")
    robot.ros.node.destroy_publisher(rear)
    wait_until(
        lambda: any(b["gone"] and b["pressed"] for b in robot.status["buttons"]), 10.0, "the rear button to be gone"
    )
    with pytest.raises(RefusedError, match="vanished while pressed"):
        robot.operator("reset")
    with pytest.raises(RefusedError, match="estop"):
        robot.operator("arm")

    def forgotten() -> bool:
        try:
            return robot.operator("reset", gone=True)["state"] == "SAFE_STOP"
        except RefusedError:
            return False

    wait_until(forgotten, 5.0, "the reset")
    robot.drive()


def test_a_spoken_stop_that_was_kept_is_heard_by_a_supervisor_that_starts_later(robot: PlayedRobot) -> None:
    voice = stranger(robot, "/voice_command", String, LATCHING)
    voice.publish(String(data="Emergency stop!"))
    wait_until(lambda: latched(robot), 3.0, "the words to be heard")
    robot.supervisor.stop()
    robot.layout.latched.unlink()
    robot.start_supervisor()
    wait_until(lambda: latched(robot), 5.0, "the kept words to be heard")


@pytest.mark.parametrize("topic", ["/safety/estop", "/voice_command"])
def test_a_publisher_that_nobody_can_hear_stops_the_robot_and_is_named(robot: PlayedRobot, topic: str) -> None:
    robot.drive()
    wrong = robot.elsewhere.publisher(topic, Empty)
    wait_until(lambda: robot.status["blocking"] == ["unheard"], 5.0, "unheard")
    wait_until(lambda: robot.speed == 0.0, 2.0, "zero")
    assert "sends std_msgs/msg/Empty" in robot.status["unheard"][0]
    assert "sends std_msgs/msg/Empty" in robot.supervisor.text
    with pytest.raises(RefusedError, match="unheard"):
        robot.operator("arm")
    robot.elsewhere.node.destroy_publisher(wrong)
    wait_until(lambda: not robot.status["blocking"], 5.0, "it to be gone")
    assert robot.status["state"] == "SAFE_STOP", "nothing resumes by itself"


def test_a_button_in_another_dds_partition_is_named(robot: PlayedRobot, tmp_path: Path) -> None:
    profile = (REPOSITORY / "images" / "dds.xml").read_text()
    partition = "<partition><names><name>rear</name></names></partition>"
    hidden = f'<publisher profile_name="/safety/estop"><qos>{partition}</qos></publisher>'
    (tmp_path / "hidden.xml").write_text(profile.replace("</profiles>", f"{hidden}</profiles>"))
    (tmp_path / "button.py").write_text(PARTITION)
    environment = {
        **robot.environment,
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(tmp_path / "hidden.xml"),
        "RMW_FASTRTPS_USE_QOS_FROM_XML": "1",
    }
    robot.wait_healthy()
    argv = [sys.executable, str(tmp_path / "button.py")]
    with Process(argv, environment, tmp_path / "button.log"):
        wait_until(lambda: robot.status["unheard"], 15.0, "the hidden button to be named")
        assert "/hidden_button" in robot.status["unheard"][0] and "partition" in robot.status["unheard"][0]
        assert robot.status["blocking"] == ["unheard"]
    wait_until(lambda: not robot.status["unheard"], 30.0, "it to be gone")


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_press_counts_however_many_messages_come_behind_it_and_however_late_the_tick(
    robot: PlayedRobot, pause_s: float
) -> None:
    robot.drive()
    if pause_s:
        robot.supervisor.signal(signal.SIGSTOP)
    robot.estop.publish(Bool(data=True))
    for _ in range(100):
        robot.estop.publish(Bool(data=False))
    if pause_s:
        threading.Event().wait(pause_s)
        robot.supervisor.signal(signal.SIGCONT)
    wait_until(lambda: latched(robot), 3.0, "the press to be heard")


def test_the_first_message_of_another_writer_latches_and_who_it_is_is_told(robot: PlayedRobot) -> None:
    robot.drive()
    other = robot.elsewhere.publisher("/cmd_vel", Twist, BEST_EFFORT)
    wait_until(lambda: other.get_subscription_count() >= 1, 5.0, "the other writer to be connected")
    other.publish(Twist())
    wait_until(lambda: latched(robot, "second_writer"), 3.0, "the other writer to be noticed")
    wait_until(lambda: "/cmd_vel: /test writes" in str(robot.status["strangers"]), 3.0, "its name")
    wait_until(lambda: "/cmd_vel: /test writes" in robot.supervisor.text, 3.0, "its name in the log")


def test_a_sites_own_stop_word_stops(tmp_path: Path) -> None:
    words = '\n[voice]\nstop = ["止まれ"]\nemergency = ["緊急停止"]\n'
    with PlayedRobot(tmp_path, ROBOT + words) as robot:
        robot.drive()
        robot.voice.publish(String(data="今すぐ止まれ！"))
        wait_until(lambda: robot.speed == 0.0, 3.0, "zero")
        assert robot.status["command"]["text"] == "stop"
        robot.voice.publish(String(data="緊急停止"))
        wait_until(lambda: latched(robot), 3.0, "the emergency stop")


def test_a_battery_that_says_something_only_when_it_changes_is_heard_by_a_supervisor_that_starts_later(
    tmp_path: Path,
) -> None:
    from sensor_msgs.msg import BatteryState

    with PlayedRobot(tmp_path, ROBOT.replace("max_age_ms = 3000", "max_age_ms = 600000")) as robot:
        robot.body.stop()
        kept = stranger(robot, "/battery_state", BatteryState, LATCHING)
        kept.publish(BatteryState(percentage=0.66))
        wait_until(lambda: robot.status["battery"] == pytest.approx(0.66), 3.0, "the level")
        robot.supervisor.stop()
        robot.start_supervisor()
        wait_until(lambda: robot.status["battery"] == pytest.approx(0.66), 5.0, "the kept level")


def test_offers_cover_what_a_publisher_can_choose() -> None:
    chosen = {(qos.reliability, qos.durability) for qos in OFFERS.values()}
    usual = {(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)}
    assert len(chosen | usual) == 4
