"""The state that a policy sees: numbers of joints in one or several messages, and of odometry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_registry.core.errors import HomeportError
from model_registry.core.plan import StateNumber
from stack.policy.body import BodyState
from stack.policy.cdr import JointStates, Speeds

ELBOW, GRIPPER = StateNumber("position", "elbow"), StateNumber("position", "gripper")


def message(**positions: float) -> JointStates:
    values = tuple(positions.values())
    return JointStates(0, tuple(positions), values, tuple(10 * value for value in values), ())


def test_rows_have_the_order_of_the_plan_whatever_the_order_of_the_message() -> None:
    body = BodyState((ELBOW, StateNumber("velocity", "elbow"), GRIPPER), 0.5)
    assert body.row() is None
    assert body.hear_joints(message(gripper=0.25, wheel=7.0, elbow=0.5), 10.0)
    row = body.row()
    assert row is not None and row.dtype == np.float32 and row.tolist() == [0.5, 5.0, 0.25]


def test_numbers_are_scaled_turned_and_moved_as_the_plan_says() -> None:
    degrees = StateNumber("position", "elbow", 180 / math.pi)
    turned = StateNumber("position", "gripper", -100.0, 50.0)
    body = BodyState((degrees, turned), 0.5)
    body.hear_joints(message(elbow=math.pi / 2, gripper=0.25), 10.0)
    assert body.row() == pytest.approx([90.0, 25.0])


def test_joints_may_come_in_several_messages() -> None:
    body = BodyState((ELBOW, GRIPPER), 0.5)
    with pytest.raises(HomeportError, match="no position of gripper among elbow; let what publishes them name it"):
        body.hear_joints(message(elbow=0.5), 10.0)
    assert body.hear_joints(message(gripper=0.1), 10.01)
    assert body.hear_joints(message(elbow=0.6), 10.02)
    assert body.row() == pytest.approx([0.6, 0.1])


def test_a_joint_that_was_not_heard_lately_is_missing_also_when_others_go_on() -> None:
    body = BodyState((ELBOW, GRIPPER), 0.5)
    body.hear_joints(message(elbow=0.5, gripper=0.1), 10.0)
    assert body.hear_joints(message(elbow=0.5), 10.5)
    with pytest.raises(HomeportError, match=r"^joints: no position of gripper among elbow;"):
        body.hear_joints(message(elbow=0.5), 10.51)


def test_a_message_about_other_joints_says_nothing() -> None:
    body = BodyState((ELBOW,), 0.5)
    with pytest.raises(HomeportError, match="no position of elbow among wheel"):
        body.hear_joints(message(wheel=1.0), 10.0)
    assert body.hear_joints(message(elbow=0.5), 10.1)
    assert not body.hear_joints(message(wheel=1.0), 10.2)


def test_a_field_that_the_message_leaves_out_is_missing() -> None:
    body = BodyState((StateNumber("effort", "elbow"),), 0.5)
    with pytest.raises(HomeportError, match="no effort of elbow among elbow"):
        body.hear_joints(message(elbow=0.5), 10.0)
    with pytest.raises(HomeportError, match="among no joints"):
        body.hear_joints(JointStates(0, (), (), (), ()), 10.0)


def test_speeds_of_the_base_stand_beside_joints() -> None:
    body = BodyState((StateNumber("base_velocity", "angular_z"), ELBOW), 0.5)
    body.hear_speeds(Speeds(0, {"linear_x": 0.3, "linear_y": 0.0, "angular_z": -0.2}), 10.0)
    assert body.row() is None, "the elbow was not heard"
    body.hear_joints(message(elbow=0.5), 10.0)
    assert body.row() == pytest.approx([-0.2, 0.5])
