"""Where the way is free, by the supervisor's own reading of the scan: mounts, bodies, bends, blindness."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_registry.core.robot import Footprint, Lidar
from stack.supervisor.obstacles import Obstacles, fastest, stopping_m
from tests.fakes.supervision import BODY, around, with_thing

BOX = Footprint(0.4, 0.3, 0.2, round=False)
FORWARD, BACKWARD = (0.3, 0.0), (-0.3, 0.0)
EMPTY = replace(around(1.0), ranges=np.full(360, np.inf, dtype=np.float32))


def seeing(scan, body=BODY, lidar=Lidar()):  # noqa: B008
    obstacles = Obstacles(body, lidar)
    assert obstacles.see(scan) is None
    return obstacles


def test_the_way_is_free_up_to_what_stands_in_it():
    assert seeing(with_thing(EMPTY, 0.0, 1.0)).free_m(FORWARD) == pytest.approx(0.8, abs=0.01)
    assert seeing(with_thing(EMPTY, 0.0, 1.0)).free_m(BACKWARD) == math.inf
    assert seeing(with_thing(EMPTY, math.pi, 1.0)).free_m(BACKWARD) == pytest.approx(0.8, abs=0.01)


def test_a_box_is_as_long_as_it_is():
    scan = with_thing(EMPTY, 0.0, 1.0)
    assert seeing(scan, BOX).free_m(FORWARD) == pytest.approx(0.6, abs=0.01)
    assert seeing(with_thing(EMPTY, math.pi, 1.0), BOX).free_m(BACKWARD) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("body", [BODY, BOX], ids=["round", "box"])
def test_what_stands_beside_the_way_does_not_block_it(body):
    walls = with_thing(with_thing(EMPTY, math.pi / 2, 0.45), -math.pi / 2, 0.45)
    assert seeing(walls, body).free_m(FORWARD) == math.inf


def test_d35_only_the_direction_of_travel_counts_and_not_all_around():
    behind = with_thing(EMPTY, math.pi, 0.25)
    assert seeing(behind).free_m(FORWARD) == math.inf
    assert seeing(behind).free_m(BACKWARD) == pytest.approx(0.05, abs=0.01)


def test_a_bend_leads_past_what_stands_ahead_and_into_what_stands_aside():
    ahead = seeing(with_thing(EMPTY, 0.0, 2.0, width=0.1))
    assert ahead.free_m(FORWARD) < 2.0
    assert ahead.free_m((0.3, 0.4)) == math.inf
    left = seeing(with_thing(EMPTY, math.radians(60), 1.0, width=0.1))
    assert left.free_m(FORWARD) == math.inf
    assert left.free_m((0.3, 0.5)) < 1.2
    assert left.free_m((0.3, -0.5)) == math.inf


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi, -math.pi / 2])
def test_d20_a_scanner_that_is_mounted_turned_sees_the_same_room(yaw):
    scan = with_thing(EMPTY, -yaw, 1.0)  # ahead of the body, as the turned scanner sees it
    assert seeing(scan, lidar=Lidar(yaw=yaw)).free_m(FORWARD) == pytest.approx(0.8, abs=0.02)


def test_a_scanner_at_the_front_is_nearer_to_what_it_sees():
    scan = with_thing(EMPTY, 0.0, 1.0)
    assert seeing(scan, lidar=Lidar(x=0.1)).free_m(FORWARD) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("beams", [90, 360, 720, 1440])
def test_d20_every_number_of_beams_is_read_by_angle(beams):
    ranges = np.full(beams, np.inf, dtype=np.float32)
    ranges[beams // 2] = 1.0
    scan = replace(EMPTY, angle_increment=math.tau / beams, ranges=ranges)
    assert seeing(scan).free_m(FORWARD) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("value", [math.nan, 0.0, 0.01], ids=["nan", "zero", "below range_min"])
def test_d21_d33_a_scan_that_says_nothing_is_blind_and_not_free(value):
    scan = replace(EMPTY, ranges=np.full(360, value, dtype=np.float32))
    assert Obstacles(BODY, Lidar()).see(scan) == "is blind"


def test_d21_single_beams_that_say_nothing_are_neither_free_nor_touching():
    ranges = np.full(360, 3.0, dtype=np.float32)
    ranges[::3] = math.nan
    assert seeing(replace(EMPTY, ranges=ranges)).free_m(FORWARD) == pytest.approx(2.8, abs=0.01)


def test_minus_infinity_is_nearer_than_the_scanner_can_tell():
    assert seeing(with_thing(EMPTY, 0.0, -math.inf)).free_m(FORWARD) == 0.0


def test_an_echo_beyond_the_scanners_range_is_none():
    assert seeing(replace(EMPTY, ranges=np.full(360, 11.0, dtype=np.float32))).free_m(FORWARD) == math.inf


def test_a_direction_that_is_not_seen_is_closed():
    angles = EMPTY.angle_min + EMPTY.angle_increment * np.arange(360)
    ranges = np.where(np.abs(angles) < math.radians(120), np.float32(4.0), np.float32(math.nan))
    obstacles = seeing(replace(EMPTY, ranges=ranges))
    assert obstacles.free_m(FORWARD) > 3.0
    assert obstacles.free_m(BACKWARD) == 0.0


def test_before_the_first_scan_every_direction_is_closed():
    assert Obstacles(BODY, Lidar()).free_m(FORWARD) == 0.0


def test_a_box_turns_only_where_its_corners_have_room():
    assert not seeing(around(0.4), BOX).may_turn((0.0, 0.5))
    assert not seeing(around(0.4), BOX).may_turn((0.05, 0.5))
    assert seeing(around(0.4), BOX).may_turn((0.3, 0.1))
    assert seeing(around(0.6), BOX).may_turn((0.0, 0.5))
    assert seeing(around(0.3)).may_turn((0.0, 0.5)), "a round body always has room"


@pytest.mark.parametrize(
    "change",
    [{"ranges": np.zeros(0, dtype=np.float32)}, {"angle_increment": 0.0}, {"range_max": 0.0}, {"range_max": math.nan}],
)
def test_a_scan_that_is_no_scan_is_not_read(change):
    assert Obstacles(BODY, Lidar()).see(replace(EMPTY, **change)) == "cannot be read"


@given(st.floats(0.0, 20.0), st.floats(0.01, 1.0), st.floats(0.1, 5.0), st.floats(0.02, 1.0))
def test_the_fastest_speed_stops_with_the_margin_left(free_m, reaction_s, slope, margin_m):
    speed = fastest(free_m, reaction_s, slope, margin_m)
    assert speed >= 0.0
    assert speed == 0.0 or stopping_m(speed, reaction_s, slope) + margin_m <= free_m + 1e-9


@given(st.lists(st.floats(width=32), min_size=1, max_size=400), st.floats(-1, 1), st.floats(-2, 2))
def test_no_scan_makes_a_distance_that_is_not_a_number(ranges, linear, angular):
    obstacles = Obstacles(BOX, Lidar(yaw=0.3, x=0.1, min_valid=0.01))
    obstacles.see(replace(EMPTY, ranges=np.asarray(ranges, dtype=np.float32)))
    free = obstacles.free_m((linear, angular))
    assert free >= 0.0
    obstacles.may_turn((linear, angular))
