"""Raw messages, written by hand; the integration tests read what a real publisher sends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.policy.cdr import MalformedMessageError, parse_image, parse_joints, parse_scan, parse_speeds
from tests.fakes.cdr import Writer
from tests.fakes.observations import joints, odometry


def image(order: str = "<", frame_id: str = "camera", encoding: str = "rgb8") -> bytes:
    writer = Writer(order).put("iI", 12, 34).text(frame_id).put("II", 2, 3).text(encoding).put("B", 0)
    writer.put("I", 9).put("I", 18)
    writer.body += bytes(range(18))
    return writer.bytes()


def scan(order: str = "<", beams: int = 5) -> bytes:
    writer = Writer(order).put("iI", 12, 34).text("laser").put("fffffff", -3.0, 3.0, 0.5, 0.0, 0.1, 0.05, 12.0)
    writer.put("I", beams).put("f" * beams, *(1.0 + beam for beam in range(beams))).put("I", 0)
    return writer.bytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("frame_id", ["", "c", "ca", "cam", "camera_optical_frame"])
def test_an_image_is_read_whatever_the_alignment_of_its_texts(order: str, frame_id: str) -> None:
    read = parse_image(image(order, frame_id))
    assert (read.height, read.width, read.encoding, read.step) == (2, 3, "rgb8", 9)
    assert read.stamp_ns == 12_000_000_034
    assert bytes(read.data) == bytes(range(18))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_scan_is_read_with_its_angles(order: str) -> None:
    read = parse_scan(scan(order))
    assert (read.angle_min, read.angle_increment, read.range_max) == (-3.0, 0.5, 12.0)
    assert read.range_min == pytest.approx(0.05)
    assert np.array_equal(read.ranges, [1, 2, 3, 4, 5])
    assert read.ranges.dtype == np.float32


def test_a_scan_without_angles_is_refused() -> None:
    writer = Writer().put("iI", 1, 2).text("laser").put("fffffff", -3.0, 3.0, float("nan"), 0.0, 0.1, 0.05, 12.0)
    with pytest.raises(MalformedMessageError, match="laser's driver"):
        parse_scan(writer.put("I", 0).put("I", 0).bytes())


def test_joints_are_read_with_what_is_told_of_them() -> None:
    read = parse_joints(joints(12.5, elbow=0.25, wrist_roll=-0.5))
    assert (read.stamp_ns, read.names) == (12_500_000_000, ("elbow", "wrist_roll"))
    assert (read.positions, read.velocities, read.efforts) == ((0.25, -0.5), (2.5, -5.0), (25.0, -50.0))


def test_joints_may_leave_velocities_and_efforts_out() -> None:
    writer = Writer(">").put("iI", 1, 2).text("arm").put("I", 1).text("elbow")
    read = parse_joints(writer.put("I", 1).put("d", 0.5).put("I", 0).put("I", 0).bytes())
    assert (read.positions, read.velocities, read.efforts) == ((0.5,), (), ())


@pytest.mark.parametrize(
    ("count", "values", "words"),
    [(2, [0.5], "1 numbers for 2 joints"), (1, [math.inf], "not finite"), (257, [], "257 joints, at most 256")],
)
def test_joints_that_contradict_themselves_are_refused(count: int, values: list[float], words: str) -> None:
    writer = Writer().put("iI", 1, 2).text("arm").put("I", count)
    for _ in range(count):
        writer.text("elbow")
    writer.put("I", len(values)).put("d" * len(values) or "B", *(values or [0])).put("I", 0).put("I", 0)
    with pytest.raises(MalformedMessageError, match=words):
        parse_joints(writer.bytes())


def test_the_speeds_of_the_base_are_read_by_name() -> None:
    read = parse_speeds(odometry(12.5, 0.3, -0.2, linear_y=0.1))
    assert read.stamp_ns == 12_500_000_000
    assert read.values == {"linear_x": 0.3, "linear_y": 0.1, "angular_z": -0.2}
    with pytest.raises(MalformedMessageError, match="not finite"):
        parse_speeds(odometry(12.5, math.nan, 0.0))


@given(st.integers(0, 60))
def test_a_message_that_ends_early_is_refused(size: int) -> None:
    with pytest.raises(MalformedMessageError):
        parse_image(image()[:size])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_image, parse_scan, parse_joints, parse_speeds):
        try:
            parse(data)
        except MalformedMessageError as error:
            assert str(error).startswith("message: ")
