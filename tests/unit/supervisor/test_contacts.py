"""Policies that always ask for full speed, in rooms with walls and poles: nothing that stands is touched."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from model_registry.core.robot import Lidar, Safety
from stack.supervisor import report
from tests.fakes.supervision import BODY, robot
from tests.testbed.driving import POLICIES, TICK_S, Driving, Scene, chase, drive, scene
from tests.testbed.rooms import Pole, Room, Scanner

MARGIN_M = 0.1
SEEDS = [*range(7), 140, 321, 545]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_stands_is_touched_at_full_speed(seed):
    outcome = drive(scene(seed))
    assert outcome.touched in ("", "never seen"), outcome


def test_the_seeds_make_up_every_policy_and_touch_something_without_a_supervisor():
    assert {seed % len(POLICIES) for seed in SEEDS} == set(range(len(POLICIES)))
    assert sum(drive(scene(seed), guarded=False).touched != "" for seed in SEEDS[:7]) >= 3


def in_a_room(policy, poles=(), range_min=0.05, beams=360, odom=True, response_s=0.1, near=math.nan) -> Scene:
    """A round robot of 0.2 m that looks at a wall 1.5 m ahead, and at poles."""
    return Scene(
        name="",
        robot=replace(robot(Safety(margin=MARGIN_M), odom=odom), base_response_s=response_s),
        scanner=Scanner(Lidar(), beams, math.tau, range_min, near=near),
        room=Room(3.0, 3.0, list(poles)),
        policy=policy,
        scan_every=5,
        latency_s=0.04,
        odometry_latency=1,
        seed=1,
    )


def flipping(half_s):
    return lambda now_s, *_: (0.5, (-1.0) ** int(now_s / half_s))


@pytest.mark.parametrize("half_s", [0.05, 0.3])
@pytest.mark.parametrize("pole", [False, True], ids=["wall", "pole"])
@pytest.mark.parametrize("odom", [True, False], ids=["odometry", "no odometry"])
def test_a_turn_that_flips_does_not_use_up_the_margin(half_s, pole, odom):
    poles = [Pole(1.0, 0.0, 0.03)] if pole else []
    outcome = drive(in_a_room(flipping(half_s), poles, odom=odom), seconds=5.0)
    passed_by = outcome.way_m > 1.2  # a pole is a thing to pass, 2 cm beside it
    assert outcome.least_m >= (0.02 if passed_by else MARGIN_M - 0.02), outcome


@pytest.mark.parametrize("response_s", [0.02, 0.1, 0.3])
def test_a_robot_that_is_told_to_reverse_before_a_wall_still_stops_with_the_margin_left(response_s):
    hold_s = 2.6
    shuttle = in_a_room(lambda now_s, *_: (0.5 * (-1.0) ** int(now_s / hold_s), 0.0), response_s=response_s)
    assert drive(shuttle, seconds=12.0).least_m >= MARGIN_M - 0.02


def test_a_robot_that_spins_and_then_drives_off_stops_with_the_margin_left():
    spin = in_a_room(lambda now_s, *_: (0.0, 1.0) if int(now_s / 0.7) % 2 else (0.5, 0.0))
    assert drive(spin, seconds=12.0).least_m >= MARGIN_M - 0.02


@pytest.mark.parametrize("near", [math.nan, math.inf])
@pytest.mark.parametrize("odom", [True, False], ids=["odometry", "no odometry"])
def test_a_robot_that_is_sent_at_thin_poles_inside_the_shortest_range_touches_none(near, odom):
    poles = [Pole(0.8, 0.03, 0.005), Pole(0.6, -0.7, 0.01), Pole(-0.7, 0.2, 0.01)]

    policy = chase(random.Random(2), (0.5, 1.0))
    outcome = drive(in_a_room(policy, poles, 0.3, near=near, odom=odom), seconds=12.0)
    assert (outcome.touched, outcome.refused) == ("", False)
    assert outcome.way_m > 0.4


@pytest.mark.parametrize("range_min", [0.35, 0.4, 0.45])
def test_a_robot_whose_scanner_sees_too_little_beside_it_is_not_armed_and_says_why(range_min):
    bench = Driving(in_a_room(lambda *_: (0.5, 0.0), range_min=range_min))
    bench.tick(70)
    bench.operator("arm")
    bench.tick(50)
    document = report.status(bench.supervisor, bench.now_s)
    assert (document["armed"], document["reasons"], bench.way_m) == (False, ["scan_bad"], 0.0)
    assert f"range_min = {range_min:.2f} m" in document["sources"]["scan"]["fault"]


def test_a_robot_that_is_held_by_something_remembered_says_so():
    bench = Driving(in_a_room(lambda *_: (0.5, 0.0), [Pole(0.8, 0.0, 0.005)], range_min=0.3))
    bench.tick(70)
    bench.operator("arm")
    bench.asked = bench.scene.policy
    bench.tick(300)
    document = report.status(bench.supervisor, bench.now_s)
    assert document["limited_by"] == ["obstacle"]
    assert document["envelope"]["nearest_m"] == pytest.approx(BODY.front + MARGIN_M, abs=0.04)
    assert abs(bench.moving[0]) < 0.01


@pytest.mark.parametrize("speed", [1e308, -1e308, 1e6])
def test_odometry_of_any_size_moves_nothing_out_of_the_way(speed):
    bench = Driving(in_a_room(lambda *_: (0.5, 0.0)))
    bench.tick(70)
    bench.supervisor.sources.speed = (speed, speed)
    bench.supervisor.tick(bench.now_s + TICK_S, bench.ros_s)
    obstacles = bench.supervisor.sources.obstacles
    assert obstacles is not None
    assert obstacles.nearest_m == pytest.approx(1.5, abs=0.1)
