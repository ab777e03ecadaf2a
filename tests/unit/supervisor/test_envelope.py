"""Whole ticks around what the supervisor sees itself: obstacles, sensors that lie, old observations, and going on
afterwards.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from model_registry.core.errors import RefusedError
from model_registry.core.robot import Footprint, Safety, SourceSettings
from stack.supervisor import report
from stack.supervisor.state import Reason
from tests.fakes.supervision import BODY, Bench, robot

MARGIN = Safety().margin


def status(bench):
    return report.status(bench.supervisor, bench.now_s)


def approach(bench, wall_m, ticks):
    """Drive towards a wall that is `wall_m` ahead of the robot's start; the distances from its hull."""
    start, gaps = bench.pose[0], []
    for _ in range(ticks):
        bench.thing = (0.0, wall_m - (bench.pose[0] - start))
        bench.tick()
        gaps.append(bench.thing[1] - BODY.front)
    return gaps


def test_a_robot_slows_before_a_wall_and_stands_with_the_margin_left():
    bench = Bench()
    bench.drive()
    gaps = approach(bench, 1.5, 400)
    assert MARGIN - 0.02 <= min(gaps) <= MARGIN + 0.08
    assert (bench.state, status(bench)["armed"]) == ("LIMITED", True), "a cap is not a fault"
    assert status(bench)["limited_by"] == ["obstacle"]
    assert abs(bench.outputs[-1].command[0]) < 0.01


def test_a_robot_before_a_wall_may_turn_and_back_off():
    bench = Bench()
    bench.drive()
    approach(bench, 1.0, 300)
    bench.speeds["a"] = (0.3, 0.5)
    approach(bench, bench.thing[1], 20)
    assert bench.outputs[-1].command[1] == pytest.approx(0.5)
    assert abs(bench.outputs[-1].command[0]) < 0.05
    bench.speeds["a"] = (-0.2, 0.0)
    approach(bench, bench.thing[1], 30)
    assert bench.outputs[-1].command[0] == pytest.approx(-0.2)


def test_what_steps_into_the_margin_ramps_down_and_disarms():
    bench = Bench()
    bench.drive()
    bench.thing = (0.0, BODY.front + 0.03)
    speeds = [bench.tick().command[0] for _ in range(30)]
    falling = [b - a for a, b in itertools.pairwise(speeds)]
    assert speeds[-1] == 0.0
    assert min(falling) >= -2.0 * 0.02 - 1e-9, "the ramp is the robot's own slope"
    assert (bench.state, status(bench)["armed"]) == ("SAFE_STOP", False)
    bench.thing = None
    bench.tick(200)
    assert bench.outputs[-1].command == (0.0, 0.0), "nothing resumes by itself"


@pytest.mark.parametrize("name", ["scan", "odom"])
def test_with_auto_resume_a_passed_fault_lets_it_go_on_after_the_dwell(name):
    bench = Bench(robot(Safety(auto_resume_s=1.0)))
    bench.drive()
    if name == "scan":
        bench.thing = (0.0, BODY.front + 0.03)
    else:
        bench.odom = False
    bench.tick(40)
    assert not status(bench)["armed"]
    bench.thing, bench.odom = None, True
    bench.tick(40)
    assert not status(bench)["armed"], "not before the dwell"
    bench.tick(60)
    assert (status(bench)["armed"], bench.state) == (True, "RUN")


def test_with_auto_resume_a_source_that_was_away_for_long_needs_somebody_to_arm():
    bench = Bench(robot(Safety(auto_resume_s=0.5)))
    bench.drive()
    bench.odom = False
    bench.tick(100)
    bench.odom = True
    bench.tick(200)
    assert not status(bench)["armed"]


@pytest.mark.parametrize("how", ["estop", "nan", "silence", "second_writer"])
def test_even_with_auto_resume_nothing_else_goes_on_by_itself(how):
    bench = Bench(robot(Safety(auto_resume_s=0.5)))
    bench.drive()
    bench.thing = (0.0, BODY.front + 0.03)
    bench.tick(10)
    if how == "estop":
        bench.supervisor.estop(True, bench.now_s)
        bench.supervisor.estop(False, bench.now_s)
    elif how == "second_writer":
        bench.supervisor.stops.trip(Reason.SECOND_WRITER)
    else:
        bench.speeds["a"] = (math.nan, 0.0) if how == "nan" else None
        bench.speeds = bench.speeds if how == "nan" else {}
    bench.tick(10)
    bench.thing, bench.speeds = None, {"a": (0.3, 0.0)}
    bench.tick(200)
    assert not status(bench)["armed"]


def test_an_operator_who_resets_has_to_arm_also_with_auto_resume():
    bench = Bench(robot(Safety(auto_resume_s=0.5)))
    bench.drive()
    bench.operator("estop")
    bench.tick(5)
    bench.operator("reset")
    bench.tick(100)
    assert bench.state == "SAFE_STOP"


def faulty(bench, name):
    document = status(bench)
    return document["sources"][name]["fault"], document["reasons"]


@pytest.mark.parametrize(
    ("age_s", "fault"), [(-0.2, "stamped in the future"), (0.6, "stamped too long ago")], ids=["future", "old"]
)
@pytest.mark.parametrize("name", ["scan", "odom"])
def test_a_stamp_that_does_not_fit_stops(name, age_s, fault):
    bench = Bench()
    bench.drive()
    bench.stamp_ages[name] = age_s
    bench.tick(6)
    assert faulty(bench, name) == (fault, [f"{name}_bad"])
    assert bench.outputs[-1].command == (0.0, 0.0)


def test_stamps_are_not_looked_at_where_robot_toml_says_so():
    config = robot()
    config.sources["odom"] = SourceSettings(True, 500.0, stamps=False)
    bench = Bench(config)
    bench.stamp_ages["odom"] = 1e9
    bench.drive()
    assert bench.state == "RUN"


def test_what_a_stamp_says_counts_into_the_age():
    bench = Bench()
    bench.drive()
    bench.stamp_ages["odom"] = 0.4
    bench.tick(3)
    bench.odom = False
    bench.tick(8)
    assert faulty(bench, "odom") == ("too old", ["odom_stale"])


@pytest.mark.parametrize("name", ["scan", "odom"])
def test_a_source_that_repeats_itself_while_the_robot_moves_is_frozen(name):
    bench = Bench()
    bench.drive()
    bench.frozen = name
    bench.tick(20)
    assert faulty(bench, name) == (None, [])
    bench.tick(20)
    assert faulty(bench, name)[0] == "frozen"
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert isinstance(bench.operator("arm"), RefusedError), "also while it stands"
    bench.frozen = ""
    bench.tick(6)
    assert isinstance(bench.operator("arm"), dict)


def test_a_standing_robot_may_hear_the_same_for_ever():
    bench = Bench()
    bench.speeds["a"] = None
    bench.frozen = "scan"
    bench.tick(300)
    assert status(bench)["blocking"] == []


def test_an_empty_room_is_not_frozen():
    bench = Bench()
    bench.room_m = math.inf
    bench.drive()
    bench.tick(100)
    assert bench.state == "RUN"


def test_d33_a_blind_scan_stops_and_says_so():
    bench = Bench()
    bench.drive()
    bench.room_m = math.nan
    bench.tick(6)
    assert faulty(bench, "scan") == ("is blind: 0 of 360 beams readable, 50% needed", ["scan_bad"])
    assert isinstance(bench.operator("arm"), RefusedError)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_step_is_not_the_sensors_fault(step_s):
    bench = Bench()
    bench.drive()
    bench.clock_error_s = step_s
    bench.tick(20)
    assert status(bench)["reasons"] == ["clock_step"]
    bench.tick(80)
    assert status(bench)["blocking"] == []


def test_an_estop_that_must_be_heard_stops_by_its_silence():
    bench = Bench(robot(estop=True))
    bench.tick(5)
    assert "estop_stale" in status(bench)["blocking"]
    bench.supervisor.estop(False, bench.now_s)
    bench.tick()
    assert status(bench)["blocking"] == []
    bench.tick(30)
    assert status(bench)["blocking"] == ["estop_stale"]


def test_old_observations_slow_the_robot_so_that_it_never_goes_farther_blind():
    bench = Bench(robot(Safety(action_age_s=0.2)))
    bench.speeds["a"] = (0.5, 0.0)
    bench.drive()
    bench.stamp_age_s = 0.4
    bench.tick(60)
    speed = bench.outputs[-1].command[0]
    assert speed * 0.4 <= 0.5 * 0.2 + 1e-6
    assert status(bench)["limited_by"] == ["action_age"]
    bench.stamp_age_s = 0.05
    bench.tick(1000)
    assert bench.outputs[-1].command[0] == pytest.approx(0.5), "a latency that has passed is forgotten"


def test_a_second_writer_latches():
    bench = Bench()
    bench.drive()
    bench.supervisor.stops.trip(Reason.SECOND_WRITER)
    bench.tick()
    assert (bench.state, bench.outputs[-1].command) == ("LATCHED", (0.0, 0.0))


def test_a_tick_thread_that_skips_many_periods_disarms():
    bench = Bench()
    bench.drive()
    for _ in range(2):
        bench.supervisor.ticks.skip(5, bench.now_s)
    bench.tick()
    assert status(bench)["reasons"] == ["overrun"]
    bench.tick(60)
    assert (status(bench)["blocking"], bench.state) == ([], "SAFE_STOP")


def test_the_reaction_time_is_measured_and_adds_to_the_stopping_distance():
    quick, slow = Bench(), Bench()
    slow.stamp_ages["scan"] = 0.3
    for bench in (quick, slow):
        bench.drive()
        approach(bench, 0.6, 20)
    assert status(slow)["envelope"]["reaction_ms"] - status(quick)["envelope"]["reaction_ms"] > 200
    assert slow.supervisor.envelope.cap < quick.supervisor.envelope.cap


def test_a_scanner_that_was_away_for_a_minute_does_not_make_the_robot_crawl_afterwards():
    bench = Bench()
    bench.drive()
    bench.scan = False
    bench.tick(3000)
    bench.scan = True
    bench.tick(10)
    assert status(bench)["envelope"]["reaction_ms"] < 700
    bench.operator("arm")
    bench.tick(60)
    assert bench.outputs[-1].command[0] == pytest.approx(0.3)


def test_wheels_without_power_look_frozen_and_a_reset_lets_them_try_again():
    bench = Bench()
    bench.drive()
    bench.frozen, bench.measured = "odom", (0.0, 0.0)
    bench.tick(60)
    assert faulty(bench, "odom") == ("frozen", ["odom_bad"])
    bench.tick(300)
    assert isinstance(bench.operator("arm"), RefusedError)
    bench.operator("reset")
    bench.frozen, bench.measured = "", None
    assert isinstance(bench.operator("arm"), dict)
    bench.tick(60)
    assert bench.state == "RUN"


def test_odometry_that_trembles_around_zero_is_no_driving_into_what_is_not_seen():
    bench = Bench()
    bench.half = True
    bench.speeds["a"] = (0.0, 0.5)
    bench.tick(70)
    bench.operator("arm")
    for number in range(100):
        bench.measured = (-0.004 * (number % 2), 0.5)
        bench.tick()
    assert (bench.state, status(bench)["reasons"]) == ("RUN", [])


def test_a_box_before_a_wall_does_not_turn_its_corners_into_it():
    config = replace(robot(), footprint=Footprint(0.5, 0.5, 0.3, round=False))
    bench = Bench(config)
    bench.room_m = 0.62  # round: the corners reach 0.583 m and have 2 cm of pad
    bench.thing = (math.radians(60), 0.4)
    bench.speeds["a"] = (0.0, 0.5)
    bench.drive()
    assert bench.outputs[-1].command[1] == 0.0
    assert status(bench)["limited_by"] == ["obstacle"]
