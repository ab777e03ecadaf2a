"""Messages read from their bytes say what rclpy would have said."""

from __future__ import annotations

import array
import math

import pytest
from geometry_msgs.msg import Twist
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from model_registry.core.cdr import MalformedMessageError
from stack.supervisor.cdr import parse_odometry, parse_scan, parse_speed, parse_trajectory

PARSERS = (parse_odometry, parse_scan, parse_speed, parse_trajectory)
finite = st.floats(allow_nan=False, width=64)


@given(
    st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9),
    st.lists(st.lists(finite, max_size=4), max_size=6),
    st.lists(finite, max_size=3),
)
def test_an_action(frame, steps, positions):
    message = JointTrajectory(joint_names=["linear_x", frame])
    message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec = frame, 5, 250_000_000
    for index, step in enumerate(steps):
        point = JointTrajectoryPoint(velocities=step, positions=positions, effort=positions)
        point.time_from_start = Duration(seconds=index * 0.25).to_msg()
        message.points.append(point)

    found = parse_trajectory(serialize_message(message))

    assert (found.header, found.names, found.stamp_s) == (frame, ("linear_x", frame), 5.25)
    assert found.values == tuple(tuple(step) for step in steps)
    assert found.times == tuple(index * 0.25 for index in range(len(steps)))


@pytest.mark.parametrize(
    ("effort", "score"),
    [
        ([0.25], 0.25),
        ([0.0], 0.0),
        ([1.0], 1.0),
        *((bad, None) for bad in ([], [math.nan], [math.inf], [-math.inf], [-0.1], [1.1], [1e308], [0.5, 0.5])),
    ],
)
def test_t13_the_score_of_an_action_is_one_share_of_its_first_step_or_nothing(effort, score):
    message = JointTrajectory(points=[JointTrajectoryPoint(velocities=[0.1, 0.0], effort=effort)] * 2)
    assert parse_trajectory(serialize_message(message)).score == score
    message.points[0] = JointTrajectoryPoint(velocities=[0.1, 0.0])
    assert parse_trajectory(serialize_message(message)).score is None
    assert parse_trajectory(serialize_message(JointTrajectory())).score is None


@given(finite, finite, st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9))
def test_odometry(linear, angular, frame):
    message = Odometry(child_frame_id=frame)
    message.header.frame_id, message.header.stamp.sec = frame, 7
    message.twist.twist.linear.x, message.twist.twist.angular.z = linear, angular
    found = parse_odometry(serialize_message(message))
    assert (found.speed, found.stamp_s) == ((linear, angular), 7.0)
    message.header.stamp.sec = 8
    assert parse_odometry(serialize_message(message)).content == found.content, "a new stamp alone is no news"
    message.pose.pose.position.x = 1.0
    assert parse_odometry(serialize_message(message)).content != found.content


def test_a_scan():
    ranges = array.array("f", [1.0, float("inf"), 3.5])
    message = LaserScan(angle_min=-1.5, angle_increment=0.5, range_min=0.25, range_max=8.0, ranges=ranges)
    found = parse_scan(serialize_message(message))
    assert (found.angle_min, found.angle_increment, found.range_min, found.range_max) == (-1.5, 0.5, 0.25, 8.0)
    assert found.ranges.tolist() == ranges.tolist()


@given(finite, finite)
def test_a_speed(linear, angular):
    message = Twist()
    message.linear.x, message.angular.z = linear, angular
    assert parse_speed(serialize_message(message)) == (linear, angular)


def test_an_action_with_more_points_than_any_is_not_read():
    message = JointTrajectory(points=[JointTrajectoryPoint()] * 600)
    with pytest.raises(MalformedMessageError, match="600 items"):
        parse_trajectory(serialize_message(message))


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_and_nothing_else(parse, data):
    for head in (b"", b"\0\1\0\0"):
        try:
            parse(head + data)
        except MalformedMessageError as error:
            assert "check" in str(error)
