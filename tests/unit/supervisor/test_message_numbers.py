"""Whatever finite number a message carries, what the supervisor says about itself is a valid document, and arithmetic
goes on.
"""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_registry.core.documents import dump, parse
from model_registry.core.lines import reply_ok
from stack.supervisor import report
from stack.supervisor.cdr import parse_odometry, parse_scan
from tests.fakes.cdr import Writer
from tests.fakes.schemas import check
from tests.fakes.supervision import Bench, robot, status

DOUBLE_MAX, SINGLE_MAX, NS = 1.7976931348623157e308, 3.4028234663852886e38, 10**9
double = st.floats(width=64) | st.sampled_from([DOUBLE_MAX, -DOUBLE_MAX, 1e308, 5e-324, 0.0, 0.3, -0.3])
single = st.floats(width=32) | st.sampled_from([SINGLE_MAX, -SINGLE_MAX, 1e-45, 0.0, -math.pi, math.pi, math.tau / 360])
stamp = st.tuples(
    st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1)
)
frame = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=80)


def scan_bytes(at, name, header, ranges):
    writer = Writer().put("iI", *at).text(name).put("fffffff", *header)
    writer.put("I", len(ranges))
    if ranges:
        writer.put("f" * len(ranges), *ranges)
    return writer.put("I", 0).bytes()


def odometry_bytes(at, name, pose, twist):
    writer = Writer().put("iI", *at).text(name).text(name).put("ddddddd", *pose)
    writer.body += bytes(288)
    writer.put("dddddd", *twist)
    writer.body += bytes(288)
    return writer.bytes()


scans = st.builds(scan_bytes, stamp, frame, st.lists(single, min_size=7, max_size=7), st.lists(single, max_size=40))
odometry = st.builds(
    odometry_bytes, stamp, frame, st.lists(double, min_size=7, max_size=7), st.lists(double, min_size=6, max_size=6)
)


def check_documents(bench):
    document = status(bench)
    check(document, "control", "status")
    check(json.loads(reply_ok(document)), "control", "reply")
    parse(dump(document), "status")
    parse(dump(report.state(bench.supervisor, bench.now_s)), "state")
    parse(dump(report.log_record(bench.supervisor, (0.0, 0.0), bench.now_s)), "log")


@pytest.mark.filterwarnings("error")
@settings(max_examples=40)
@given(st.lists(st.tuples(scans, odometry, double), min_size=1, max_size=6))
def test_no_number_in_a_message_makes_a_document_invalid(story):
    bench = Bench(robot(battery=True))
    bench.battery = 0.9
    bench.drive()
    sources = bench.supervisor.sources
    bench.scan = bench.odom = False
    for scan, odom, level in story:
        bench.battery = level
        sources.scan(parse_scan(scan), bench.now_s, bench.ros_s)
        sources.odom(parse_odometry(odom), bench.now_s, bench.ros_s)
        linear, angular = bench.tick().command
        assert math.isfinite(linear + angular)
        check_documents(bench)


@pytest.mark.parametrize("speed", [1e308, -1e308, 99.0])
def test_a_huge_measured_speed_leaves_the_status_answerable(speed):
    bench = Bench()
    bench.speeds["b"] = (0.4, 0.0)
    bench.drive()
    bench.bend = lambda odometry: odometry._replace(
        speed=(speed, speed), sideways=speed, content=struct.pack("d", bench.now_s)
    )
    bench.tick(20)
    check_documents(bench)
    assert bench.outputs[-1].command == (0.0, 0.0)


def test_a_scan_of_the_largest_ranges_is_an_empty_hall():
    bench = Bench()
    ranges = np.full(360, SINGLE_MAX, dtype=np.float32)
    bench.bend_scan = lambda scan: scan.__class__(
        scan.stamp_s, scan.angle_min, scan.angle_increment, 0.05, SINGLE_MAX, ranges, scan.angle_max
    )
    bench.drive()
    bench.tick(60)
    assert bench.state == "RUN"
    check_documents(bench)


@given(scans)
def test_what_a_scan_is_said_to_be_is_a_sentence_or_nothing(data):
    bench = Bench()
    bench.supervisor.sources.scan(parse_scan(data), bench.now_s, bench.ros_s)
    fault = bench.supervisor.sources.all["scan"].fault(bench.now_s)
    assert fault is None or 0 < len(fault) < 300


def test_frames_and_twists_are_read_from_the_bytes():
    scan = parse_scan(scan_bytes((5, 0), "laser", (-1.0, 1.0, 0.5, 0.0, 0.0, 0.25, 8.0), [1.0] * 5))
    assert (scan.frame, scan.angle_min, scan.angle_max) == ("laser", -1.0, 1.0)
    found = parse_odometry(odometry_bytes((7, NS // 2), "base", (1.0, 2.0, 0, 0, 0, 0, 1.0), (0.1, 0.2, 0, 0, 0, 0.3)))
    assert (found.frames, found.speed, found.sideways, found.stamp_s) == (("base", "base"), (0.1, 0.3), 0.2, 7.5)
    assert (found.pose.x, found.pose.y, found.pose.yaw) == (1.0, 2.0, 0.0)
