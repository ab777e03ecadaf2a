"""Where the way is free, by the supervisor's own reading of the scan: mounts, bodies, bends, blindness."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from model_registry.core.robot import Footprint, Lidar
from stack.supervisor.obstacles import Obstacles, fastest, stopping_m
from tests.fakes.supervision import BODY, around, with_thing

BOX = Footprint(0.4, 0.3, 0.2, round=False)
FORWARD, BACKWARD = (0.3, 0.0), (-0.3, 0.0)
HORIZON = 3.0
EMPTY = replace(around(1.0), ranges=np.full(360, np.inf, dtype=np.float32))


def seeing(scan, body=BODY, lidar=Lidar()):  # noqa: B008
    obstacles = Obstacles(body, lidar)
    assert obstacles.see(scan) is None
    return obstacles


def of_points(points, beams=7200):
    """A scan of these points (x, y in m), seen from the middle; of two in one direction the nearer one."""
    ranges = np.full(beams, np.inf, dtype=np.float32)
    for x, y in points:
        beam = round((math.atan2(y, x) + math.pi) / (math.tau / beams)) % beams
        ranges[beam] = min(ranges[beam], math.hypot(x, y))
    return replace(EMPTY, angle_increment=math.tau / beams, ranges=ranges)


def gap(body, x, y):
    """Distance of a point in the body's frame from its outline, negative inside; written down the long way."""
    if body.round:
        return math.hypot(x, y) - body.half_width
    outside_x = max(x - body.front, -body.rear - x)
    outside_y = abs(y) - body.half_width
    if outside_x > 0 and outside_y > 0:
        return math.hypot(outside_x, outside_y)
    return max(outside_x, outside_y)


def swept(body, points, command, horizon_m, pad_m):
    """How far a body goes until a point comes into its outline and `pad_m` more, by steps of 2 mm."""
    linear, angular = command
    sign, bend, step_m = math.copysign(1.0, linear), angular / linear, 0.002
    x = y = heading = 0.0
    before = [gap(body, *point) for point in points]
    for number in range(1, int(horizon_m / step_m)):
        heading += bend * sign * step_m
        x += sign * step_m * math.cos(heading - bend * sign * step_m / 2)
        y += sign * step_m * math.sin(heading - bend * sign * step_m / 2)
        cos, sin = math.cos(heading), math.sin(heading)
        now = [gap(body, (px - x) * cos + (py - y) * sin, (py - y) * cos - (px - x) * sin) for px, py in points]
        if any(after < pad_m and after < old - 1e-7 for after, old in zip(now, before, strict=True)):
            return (number - 1) * step_m
        before = now
    return math.inf


@settings(max_examples=150)
@given(
    st.sampled_from([BODY, BOX, Footprint(0.5, 0.5, 0.3, round=False), Footprint(0.5, 0.5, 0.5, round=True)]),
    st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), min_size=1, max_size=6),
    st.sampled_from([0.05, 0.3, 0.5, -0.3]),
    st.floats(-1.0, 1.0),
)
@example(BOX, [(0.4375, 0.25)], 0.05, 0.6875)  # a corner that passes a point between two coarse steps
def test_the_free_way_is_that_of_the_body_swept_along_the_arc(body, points, linear, angular):
    points = [(x, y) for x, y in points if gap(body, x, y) > 0.05]
    assume(points)
    scan = of_points(points)
    seen = [(r * math.cos(a), r * math.sin(a)) for r, a in zip(scan.ranges, beam_angles(scan), strict=True) if r < 10.0]

    free = seeing(scan, body).free_m((linear, angular), 0.8)

    assert free <= swept(body, seen, (linear, angular), 0.8, 0.0) + 1e-6, "it never goes through what it sees"
    assert free >= swept(body, seen, (linear, angular), 0.8, 0.02) - 0.03, (
        "and is not stopped by what is not in its way"
    )


def beam_angles(scan):
    return scan.angle_min + scan.angle_increment * np.arange(scan.ranges.size)


def test_a_body_that_touches_something_may_go_away_from_it_and_not_into_it():
    touching = seeing(of_points([(0.41, 0.0)]), BOX)
    assert touching.free_m(FORWARD, HORIZON) == 0.0
    assert touching.free_m(BACKWARD, HORIZON) == math.inf


@pytest.mark.parametrize("depth", [0.01, 0.03, 0.2])
def test_what_is_seen_inside_of_the_front_is_in_the_way(depth):
    assert seeing(of_points([(BOX.front - depth, 0.0)]), BOX).free_m(FORWARD, HORIZON) == 0.0


def test_the_way_is_free_up_to_what_stands_in_it():
    assert seeing(with_thing(EMPTY, 0.0, 1.0)).free_m(FORWARD, HORIZON) == pytest.approx(0.78, abs=0.01)
    assert seeing(with_thing(EMPTY, 0.0, 1.0)).free_m(BACKWARD, HORIZON) == math.inf
    assert seeing(with_thing(EMPTY, math.pi, 1.0)).free_m(BACKWARD, HORIZON) == pytest.approx(0.78, abs=0.01)


def test_a_box_is_as_long_as_it_is():
    scan = with_thing(EMPTY, 0.0, 1.0)
    assert seeing(scan, BOX).free_m(FORWARD, HORIZON) == pytest.approx(0.58, abs=0.01)
    assert seeing(with_thing(EMPTY, math.pi, 1.0), BOX).free_m(BACKWARD, HORIZON) == pytest.approx(0.68, abs=0.01)


@pytest.mark.parametrize("body", [BODY, BOX], ids=["round", "box"])
def test_a_wall_along_the_way_does_not_block_it(body):
    points = [(x / 50, side * (body.half_width + 0.03)) for x in range(-50, 150) for side in (1, -1)]
    assert seeing(of_points(points), body).free_m(FORWARD, HORIZON) == math.inf


def test_d35_only_the_direction_of_travel_counts_and_not_all_around():
    behind = with_thing(EMPTY, math.pi, 0.25)
    assert seeing(behind).free_m(FORWARD, HORIZON) == math.inf
    assert seeing(behind).free_m(BACKWARD, HORIZON) == pytest.approx(0.03, abs=0.01)


def test_a_bend_leads_past_what_stands_ahead_and_into_what_stands_aside():
    ahead = seeing(with_thing(EMPTY, 0.0, 2.0, width=0.1))
    assert ahead.free_m(FORWARD, HORIZON) < 2.0
    assert ahead.free_m((0.3, 0.4), HORIZON) == math.inf
    left = seeing(with_thing(EMPTY, math.radians(60), 1.0, width=0.1))
    assert left.free_m(FORWARD, HORIZON) == math.inf
    assert left.free_m((0.3, 0.5), HORIZON) < 1.2
    assert left.free_m((0.3, -0.5), HORIZON) == math.inf


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi, -math.pi / 2])
def test_d20_a_scanner_that_is_mounted_turned_sees_the_same_room(yaw):
    scan = with_thing(EMPTY, -yaw, 1.0)  # ahead of the body, as the turned scanner sees it
    assert seeing(scan, lidar=Lidar(yaw=yaw)).free_m(FORWARD, HORIZON) == pytest.approx(0.78, abs=0.02)


def test_a_scanner_at_the_front_is_nearer_to_what_it_sees():
    scan = with_thing(EMPTY, 0.0, 1.0)
    assert seeing(scan, lidar=Lidar(x=0.1)).free_m(FORWARD, HORIZON) == pytest.approx(0.88, abs=0.01)


@pytest.mark.parametrize("beams", [90, 360, 720, 1440])
def test_d20_every_number_of_beams_is_read_by_angle(beams):
    ranges = np.full(beams, np.inf, dtype=np.float32)
    ranges[beams // 2] = 1.0
    scan = replace(EMPTY, angle_increment=math.tau / beams, ranges=ranges)
    assert seeing(scan).free_m(FORWARD, HORIZON) == pytest.approx(0.78, abs=0.01)


@pytest.mark.parametrize("value", [math.nan, 0.0, 0.01], ids=["nan", "zero", "below range_min"])
def test_d21_d33_a_scan_that_says_nothing_is_blind_and_not_free(value):
    scan = replace(EMPTY, ranges=np.full(360, value, dtype=np.float32))
    assert Obstacles(BODY, Lidar()).see(scan) == "is blind: 0 of 360 beams readable, 50% needed"


def test_d21_single_beams_that_say_nothing_are_neither_free_nor_touching():
    ranges = np.full(360, 3.0, dtype=np.float32)
    ranges[::3] = math.nan
    assert seeing(replace(EMPTY, ranges=ranges)).free_m(FORWARD, HORIZON) == pytest.approx(2.78, abs=0.01)


def test_minus_infinity_is_nearer_than_the_scanner_can_tell():
    assert seeing(with_thing(EMPTY, 0.0, -math.inf)).free_m(FORWARD, HORIZON) == 0.0


def test_an_echo_beyond_the_scanners_range_is_none():
    assert seeing(replace(EMPTY, ranges=np.full(360, 11.0, dtype=np.float32))).free_m(FORWARD, HORIZON) == math.inf


def looking(half_angle, readable=math.inf):
    """A scan that is readable within ±`half_angle` (degrees), and says nothing elsewhere."""
    inside = np.abs(beam_angles(EMPTY)) <= math.radians(half_angle)
    return replace(EMPTY, ranges=np.where(inside, np.float32(readable), np.float32(math.nan)))


def test_a_direction_that_is_not_seen_is_closed():
    obstacles = seeing(looking(120, 4.0))
    assert obstacles.free_m(FORWARD, 1.0) == math.inf
    assert obstacles.free_m(BACKWARD, 1.0) == 0.0


def test_a_gap_in_the_middle_of_the_view_is_closed():
    ranges = np.where(np.abs(beam_angles(EMPTY)) < math.radians(12), np.float32(math.nan), EMPTY.ranges)
    assert seeing(replace(EMPTY, ranges=ranges)).free_m(FORWARD, 1.0) == 0.0


def test_a_scanner_that_looks_ahead_sees_a_wide_bend_and_not_a_tight_one():
    obstacles = seeing(looking(45), lidar=Lidar(min_valid=0.2))
    assert obstacles.free_m(FORWARD, 0.5) == math.inf
    assert obstacles.free_m((0.3, 0.1), 0.5) == math.inf
    assert obstacles.free_m((0.25, 1.0), 0.5) < 0.6


def test_before_the_first_scan_every_direction_is_closed():
    assert Obstacles(BODY, Lidar()).free_m(FORWARD, HORIZON) == 0.0


def test_a_box_turns_only_where_its_corners_have_room():
    corner = of_points([(0.25, 0.36)])  # beside the front left corner: in the way of a turn to the left
    assert not seeing(corner, BOX).may_turn(0.5, 1.0)
    assert seeing(of_points([(0.6, 0.6)]), BOX).may_turn(0.5, 1.0)
    assert seeing(corner).may_turn(0.5, 1.0), "a round body always has room"


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": np.zeros(0, dtype=np.float32)},
        {"angle_increment": 0.0},
        {"angle_increment": math.inf},
        {"angle_min": math.nan},
        {"range_min": math.nan},
        {"range_max": 0.0},
        {"range_max": math.nan},
    ],
)
def test_a_scan_that_is_no_scan_is_not_read(change):
    assert Obstacles(BODY, Lidar()).see(replace(EMPTY, **change)).startswith("cannot be read: ")


@given(st.floats(0.0, 20.0), st.floats(0.01, 1.0), st.floats(0.1, 5.0), st.floats(0.02, 1.0))
def test_the_fastest_speed_stops_with_the_margin_left(free_m, reaction_s, slope, margin_m):
    speed = fastest(free_m, reaction_s, slope, margin_m)
    assert speed >= 0.0
    assert speed == 0.0 or stopping_m(speed, reaction_s, slope) + margin_m <= free_m + 1e-9


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=400),
    st.floats(-1, 1),
    st.floats(-2, 2),
    st.sampled_from([10.0, math.inf]),
)
def test_no_scan_makes_a_distance_that_is_not_a_number(ranges, linear, angular, range_max):
    obstacles = Obstacles(BOX, Lidar(yaw=0.3, x=0.1, min_valid=0.01))
    obstacles.see(replace(EMPTY, ranges=np.asarray(ranges, dtype=np.float32), range_max=range_max))
    assert obstacles.free_m((linear, angular), 0.5) >= 0.0
    assert obstacles.nearest_m is None or math.isfinite(obstacles.nearest_m)
    obstacles.may_turn(angular, 1.0)
