"""Messages that contradict themselves or the robot, on real topics with a real supervisor process."""

from __future__ import annotations

import pytest

from model_registry.core.errors import RefusedError
from tests.fakes.ros import wait_until
from tests.testbed.faults_messages import CASES
from tests.testbed.injection import run
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot

QUICK = (
    "scan_increment_doubled",
    "scans_two_old_ones_in_turn",
    "scan_with_one_living_beam",
    "scan_of_an_empty_hall",
    "odom_twist_of_zero",
    "odom_wrong_sign",
    "odom_without_a_pose",
    "battery_in_percent",
    "battery_fuller_than_full",
)


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    with PlayedRobot(tmp_path_factory.mktemp("messages") / "robot") as robot, Listening(robot) as heard:
        yield robot, heard


@pytest.mark.parametrize("case", [case for case in CASES if case.name in QUICK], ids=lambda case: case.name)
def test_what_contradicts_itself_stops_and_what_is_only_odd_drives(driven, case):
    robot, heard = driven
    outcome = run(robot, heard, case)
    assert outcome.ended_right, outcome


def test_a_robot_that_moves_is_not_armed_before_it_stands(tmp_path):
    with PlayedRobot(tmp_path / "robot") as robot:
        robot.wait_healthy()
        robot.body.pushed = 0.4
        wait_until(lambda: robot.status["blocking"] == ["moving"], 5.0, "its motion to be all that blocks it")
        with pytest.raises(RefusedError, match="moving"):
            robot.operator("arm")
        robot.body.pushed, robot.body.odom_value = 0.0, 0.4
        wait_until(lambda: robot.measured == 0.4, 5.0, "odometry that says 0.4 m/s")
        with pytest.raises(RefusedError, match="moving"):
            robot.operator("arm")
        robot.body.heal()
        robot.drive()
