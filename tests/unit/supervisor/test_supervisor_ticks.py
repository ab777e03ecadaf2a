"""Whole ticks without ROS: what the robot is told when slots, sensors, clocks and people do this or that."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_registry.core.errors import RefusedError
from model_registry.core.lines import reply_ok, request
from stack.supervisor import report
from stack.supervisor.requests import CONTROL
from stack.supervisor.state import Reason
from tests.fakes.schemas import check
from tests.fakes.supervision import LIMITS, NEW, OLD, Bench, driving_pair, robot, select, status


def test_nothing_moves_before_it_is_armed():
    bench = Bench()
    bench.tick(100)
    assert bench.state == "SAFE_STOP"
    assert {output.command for output in bench.outputs} == {(0.0, 0.0)}


def test_an_armed_robot_follows_the_slot_and_says_which_action_it_was():
    bench = Bench()
    bench.drive()
    assert bench.outputs[-1].command == pytest.approx((0.3, 0.0))
    assert bench.outputs[-1].source.startswith(OLD.short)
    assert bench.outputs[-1].safe
    assert bench.state == "RUN"


def test_a_missing_source_is_named_when_arming_is_refused():
    bench = Bench()
    bench.sensors = False
    answer = bench.operator("arm")
    assert isinstance(answer, RefusedError)
    assert "scan_stale" in str(answer)


def test_sources_declared_absent_do_not_stop_the_robot():
    bench = Bench(robot(scan=False, odom=False))
    bench.sensors = False
    bench.drive()
    assert bench.outputs[-1].command[0] == pytest.approx(0.3)
    assert status(bench)["speed"]["source"] == "commanded"


@pytest.mark.parametrize(("level", "reason"), [(0.9, []), (0.1, ["battery_low"]), (math.nan, ["battery_stale"])])
def test_a_low_or_unknown_battery_blocks_arming(level, reason):
    bench = Bench(robot(battery=True))
    bench.supervisor.sources.charge(level, bench.now_s)
    bench.tick(5)
    assert status(bench)["blocking"] == [*reason]


def test_a_battery_that_swings_around_the_floor_does_not_flicker():
    bench = Bench(robot(battery=True))
    seen = []
    for level in (0.21, 0.19, 0.21, 0.24, 0.26):
        bench.supervisor.sources.charge(level, bench.now_s)
        bench.tick()
        seen.append("battery_low" in status(bench)["reasons"])
    assert seen == [False, True, True, True, False]


def test_silence_is_zero_within_a_tenth_of_a_second_however_many_steps_remain():
    bench = Bench()
    bench.drive()
    bench.speeds = {}
    bench.tick(6)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert bench.state == "SAFE_STOP"
    bench.speeds = {"a": (0.3, 0.0)}
    bench.tick(50)
    assert bench.outputs[-1].command == (0.0, 0.0), "nothing resumes by itself"


def test_an_empty_action_ramps_down_and_stays_armed():
    bench = Bench()
    bench.drive()
    bench.speeds["a"] = None
    bench.tick(30)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert bench.state == "ARMED"
    bench.speeds["a"] = (0.3, 0.0)
    bench.tick(30)
    assert bench.outputs[-1].command[0] == pytest.approx(0.3)


@pytest.mark.parametrize(("value", "reason"), [((math.nan, 0.0), "non_finite"), ((0.1, 0.0, 0.0), "wrong_width")])
def test_an_action_that_cannot_be_read_latches(value, reason):
    bench = Bench()
    bench.drive()
    bench.speeds["a"] = value
    bench.tick(4)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert (bench.state, status(bench)["latched"]) == ("LATCHED", [reason])


@pytest.mark.parametrize("age_s", [2.0, -0.2])
def test_an_action_from_an_old_or_future_observation_stops(age_s):
    bench = Bench()
    bench.drive()
    bench.stamp_age_s = age_s
    bench.tick(4)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert not status(bench)["armed"]
    assert status(bench)["slots"]["a"]["late"] >= 1


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_step_stops_and_clears_by_itself_and_never_latches(step_s):
    bench = Bench()
    bench.drive()
    bench.clock_error_s = step_s
    bench.tick(2)
    assert status(bench)["reasons"] == ["clock_step"]
    assert bench.outputs[-1].command == (0.0, 0.0)
    bench.tick(60)
    assert status(bench)["blocking"] == []
    assert bench.state == "SAFE_STOP"


def test_actions_of_an_older_process_or_another_release_do_not_drive():
    bench = Bench()
    bench.drive()
    bench.epoch = 999
    bench.tick(6)
    assert status(bench)["reasons"] == ["silence"]
    bench.epoch = 2_000
    bench.releases["a"] = NEW
    bench.tick(6)
    assert status(bench)["reasons"] == ["other_release"]


def test_an_epoch_from_the_future_cannot_shut_out_later_processes():
    bench = Bench()
    bench.epoch = 10**18
    bench.tick(6)
    bench.epoch = 2_000
    bench.tick(6)
    assert status(bench)["slots"]["a"]["epoch"] == 2_000


def test_the_same_action_twice_counts_once():
    bench = Bench()
    bench.tick(1)
    again = bench.message("a", ((0.1, 0.0),))
    for _ in range(3):
        bench.supervisor.actions.append(("a", again))
    bench.speeds = {}
    bench.tick()
    assert status(bench)["slots"]["a"]["actions"] == 2


def test_an_emergency_stop_is_heard_among_many_words():
    bench = Bench()
    bench.drive()
    bench.supervisor.voice.append("emergency stop")
    for number in range(12):
        bench.supervisor.voice.append(f"go to pillar {number}")
    bench.tick()
    assert bench.state == "LATCHED"


@pytest.mark.parametrize("value", [7.0, -0.1, math.inf])
def test_a_battery_level_that_is_no_fraction_is_unknown(value):
    bench = Bench(robot(battery=True))
    bench.supervisor.sources.charge(value, bench.now_s)
    bench.tick(5)
    assert status(bench)["blocking"] == ["battery_stale"]


def test_every_status_can_be_sent_whatever_a_shadow_says():
    bench = driving_pair()
    bench.speeds["b"] = (1.7e308, -1.7e308)
    bench.tick(70)
    check(json.loads(reply_ok(status(bench))), "control", "reply")


def test_hold_stops_and_keeps_the_robot_armed_until_the_last_owner_lets_go():
    bench = Bench()
    bench.drive()
    for owner in ("agent", "rescue"):
        bench.ask(CONTROL, request("hold", owner=owner, reason="switch"))
    bench.tick(30)
    assert bench.ask(CONTROL, request("hold", owner="agent", reason="switch")) == {"held": True, "at_zero": True}
    assert bench.ask(CONTROL, request("unhold", owner="agent"))["held"]
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert not bench.ask(CONTROL, request("unhold", owner="rescue"))["held"]
    bench.tick(30)
    assert bench.outputs[-1].command[0] == pytest.approx(0.3)


def test_an_estop_pressed_between_two_ticks_latches():
    bench = Bench()
    bench.drive()
    bench.supervisor.estop(True, bench.now_s)
    bench.supervisor.estop(False, bench.now_s)
    bench.tick()
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert bench.state == "LATCHED"


def test_the_estop_verb_latches_and_reset_leaves_the_robot_unarmed():
    bench = Bench()
    bench.drive()
    assert bench.operator("estop")["state"] == "LATCHED"
    assert isinstance(bench.operator("arm"), RefusedError)
    bench.tick(5)
    assert bench.operator("reset") == {"state": "SAFE_STOP", "armed": False, "blocking": []}


def test_its_own_exception_latches():
    bench = Bench()
    bench.drive()
    assert bench.supervisor.stop().command == (0.0, 0.0)
    bench.supervisor.stops.trip(Reason.EXCEPTION)
    bench.tick()
    assert (bench.state, bench.outputs[-1].command) == ("LATCHED", (0.0, 0.0))


def test_a_stop_command_stops_whatever_the_slot_says():
    bench = Bench()
    bench.drive()
    bench.supervisor.voice.append("stop")
    bench.tick(30)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert bench.state == "ARMED"
    bench.supervisor.voice.append("go on")
    bench.tick(30)
    assert bench.state == "RUN"


def test_an_edge_is_reported_once():
    bench = Bench()
    bench.drive()
    bench.speeds = {}
    start = len(bench.outputs)
    bench.tick(100)
    events = [event["event"] for output in bench.outputs[start:] for event in output.events]
    assert events.count("state") <= 2
    assert events.count("reasons") == 1


def test_a_quiet_drive_logs_nothing():
    bench = Bench()
    bench.drive()
    bench.tick(30)
    start = len(bench.outputs)
    bench.tick(200)
    assert not any(output.events for output in bench.outputs[start:])


@pytest.mark.parametrize(
    "change", [lambda bench: None, lambda bench: bench.drive(), lambda bench: bench.operator("estop")]
)
def test_documents_fit_their_schemas(change):
    bench = driving_pair()
    change(bench)
    check(report.state(bench.supervisor, bench.now_s), "supervisor-state")
    check(status(bench), "control", "status")
    check(json.loads(reply_ok(status(bench))), "control", "reply")
    check(json.loads(reply_ok(bench.ask(CONTROL, request("unhold", owner="agent")))), "control", "reply")
    check(json.loads(reply_ok(bench.operator("estop"))), "operator", "reply")
    check(report.state(Bench(selected=None).supervisor, 0.0), "supervisor-state")


number = st.floats() | st.sampled_from([0.1, -0.3, math.nan, 5.0])
deed = st.tuples(
    st.sampled_from(["a", "b"]),
    st.none() | st.lists(number, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["", "", "", "arm", "reset", "estop", "select", "hold", "unhold"]),
)


@settings(max_examples=60)
@given(st.lists(deed, max_size=25))
def test_no_story_leads_to_a_command_that_is_not_finite_or_out_of_limits_or_too_steep(deeds):
    bench = driving_pair()
    last = bench.outputs[-1].command
    for slot, value, verb in deeds:
        bench.speeds[slot] = value
        start = len(bench.outputs)
        if verb in ("arm", "reset", "estop"):
            bench.operator(verb)
        elif verb == "select":
            select(bench)
        elif verb:
            fields = {"owner": "x", "reason": "y"} if verb == "hold" else {"owner": "x"}
            bench.ask(CONTROL, request(verb, **fields))
        bench.tick(5)
        for output in bench.outputs[start:]:
            linear, angular = output.command
            assert math.isfinite(linear)
            assert math.isfinite(angular)
            assert abs(linear) <= LIMITS.linear
            assert abs(angular) <= LIMITS.angular
            if output.command != (0.0, 0.0):
                assert abs(linear - last[0]) <= LIMITS.linear_acceleration * 0.02 + 1e-9
                assert abs(angular - last[1]) <= LIMITS.angular_acceleration * 0.02 + 1e-9
            last = output.command
