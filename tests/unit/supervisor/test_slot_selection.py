"""Who drives: select, probation, the way back and the shadow, in whole ticks without ROS."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from model_registry.core.errors import RefusedError, UsageError
from model_registry.core.lines import request
from stack.supervisor.requests import CONTROL
from tests.fakes.schemas import check
from tests.fakes.supervision import LIMITS, NEW, OLD, Bench, driving_pair, select, status


def test_a_select_takes_effect_at_a_tick_and_without_a_jump():
    bench = driving_pair()
    before = len(bench.outputs)
    answer = select(bench)
    assert answer["tick"] == bench.supervisor.ticks.count
    assert bench.outputs[-1].source.startswith(NEW.short)
    bench.tick(30)
    speeds = [output.command[0] for output in bench.outputs[before - 1 :]]
    assert min(speeds) >= 0.3 - 1e-9
    assert max(b - a for a, b in itertools.pairwise(speeds)) <= LIMITS.linear_acceleration * 0.02 + 1e-9
    assert speeds[-1] == pytest.approx(0.4)


def test_a_slot_is_selectable_after_twenty_actions_in_a_row():
    bench = Bench()
    bench.speeds["b"] = (0.4, 0.0)
    bench.drive()
    bench.speeds["b"] = (math.nan, 0.0)
    bench.tick(3)
    bench.speeds["b"] = (0.4, 0.0)
    bench.tick(30)
    answer = select(bench)
    assert isinstance(answer, RefusedError)
    assert "of 20 usable actions" in str(answer)
    bench.tick(40)
    assert isinstance(select(bench), dict)


def test_a_shadow_that_has_nothing_to_say_while_the_driver_moves_is_not_selectable():
    bench = driving_pair()
    bench.speeds["b"] = None
    bench.tick(70)
    assert isinstance(select(bench), RefusedError)


def test_a_standing_robot_can_be_switched_although_nobody_has_anything_to_do():
    bench = Bench()
    bench.speeds = {"a": None, "b": None}
    bench.tick(70)
    assert isinstance(select(bench), dict)


def test_select_refuses_another_release_and_an_unknown_fallback_and_itself_as_fallback():
    bench = driving_pair()
    assert isinstance(select(bench, release=OLD), RefusedError)
    assert isinstance(select(bench, fallback="b"), UsageError)
    bench = Bench(selected=None)
    bench.speeds["b"] = (0.4, 0.0)
    bench.tick(70)
    assert isinstance(select(bench), RefusedError)
    assert isinstance(select(bench, fallback=None), dict)


def test_select_of_the_driver_only_changes_its_probation():
    bench = driving_pair()
    select(bench)
    assert status(bench)["probation"]["fallback"] == "a"
    select(bench, probation_s=0)
    assert status(bench)["probation"] is None
    assert status(bench)["selected"]["slot"] == "b"


def misbehave(bench, how):
    if how == "silence":
        del bench.speeds["b"]
    elif how == "other_release":
        bench.releases["b"], bench.epoch = OLD, 2_000
    else:
        bench.speeds["b"] = {"non_finite": (math.inf, 0.0), "wrong_width": (0.1,), "out_of_limits": (2.0, 0.0)}[how]


@pytest.mark.parametrize("how", ["silence", "non_finite", "wrong_width", "out_of_limits", "other_release"])
def test_a_candidate_that_fails_its_probation_is_reverted_without_a_zero(how):
    bench = driving_pair()
    select(bench)
    before = len(bench.outputs)
    misbehave(bench, how)
    bench.tick(40)
    document = status(bench)
    assert document["selected"]["slot"] == "a"
    assert (document["reverted"]["reason"], document["reverted"]["to"]) == (how, "a")
    assert (document["state"], document["armed"], document["probation"]) == ("RUN", True, None)
    assert min(output.command[0] for output in bench.outputs[before:]) > 0.25
    check(document, "control", "status")


@pytest.mark.parametrize(("how", "metric"), [("silence", "silence_ms"), ("out_of_limits", "limited")])
def test_a_late_select_does_not_bring_back_a_process_that_failed_its_probation(how, metric):
    bench = driving_pair()
    select(bench)
    misbehave(bench, how)
    bench.tick(40)
    bench.speeds["b"] = (0.4, 0.0)
    bench.tick(70)
    answer = select(bench, probation_s=0)
    assert answer.exit_code == RefusedError.exit_code
    assert f"failed its probation by {metric}" in str(answer)
    assert "restart the slot or choose another release" in str(answer)
    slot = status(bench)["slots"]["b"]
    assert (status(bench)["selected"]["slot"], slot["selectable"]) == ("a", False)
    bench.epoch = 2_000
    bench.tick(70)
    assert isinstance(select(bench, probation_s=0), dict), "another process of it gets another chance"


@pytest.mark.parametrize("how", ["silence", "non_finite", "out_of_limits"])
def test_a_process_that_failed_its_probation_without_a_fallback_drives_no_more(how):
    bench = driving_pair()
    select(bench, fallback=None)
    misbehave(bench, how)
    bench.tick(40)
    document = status(bench)
    assert (document["reverted"]["to"], document["selected"]) == (None, None)
    assert bench.outputs[-1].command == (0.0, 0.0)
    bench.speeds["b"] = (0.4, 0.0)
    bench.tick(70)
    assert isinstance(select(bench, probation_s=0), RefusedError)
    assert "no_slot" in str(bench.operator("arm"))
    assert isinstance(select(bench, slot="a", release=OLD, fallback=None), dict)


def test_what_a_process_did_is_not_forgotten_because_another_one_speaks():
    bench = Bench()
    bench.drive()
    bench.supervisor.actions.append(("a", bench.message("a", ((math.nan, 0.0),))))
    bench.epoch = 2_000
    bench.tick(1)
    assert bench.state == "LATCHED"


def test_a_late_candidate_is_reverted():
    bench = driving_pair()
    select(bench)
    late = bench.message("b", ((0.4, 0.0),) * 8)
    bench.supervisor.actions.append(("b", replace(late, stamp_s=late.stamp_s - 2.0)))
    bench.tick()
    assert status(bench)["reverted"]["metric"] == "observation_age_ms"
    assert status(bench)["armed"]


def test_after_probation_a_failure_stops_the_robot_instead():
    bench = driving_pair()
    select(bench, probation_s=0.5)
    bench.tick(30)
    bench.speeds["b"] = (math.nan, 0.0)
    bench.tick(4)
    assert status(bench)["state"] == "LATCHED"
    assert status(bench)["reverted"] is None


def test_without_a_fallback_a_failed_probation_commands_zero_and_says_so():
    bench = driving_pair()
    select(bench, fallback=None)
    del bench.speeds["b"]
    bench.tick(8)
    document = status(bench)
    assert bench.outputs[-1].command == (0.0, 0.0)
    assert (document["reverted"]["to"], document["reverted"]["reason"]) == (None, "silence")
    assert not document["armed"]


def test_a_slot_can_be_exchanged_under_hold():
    bench = Bench()
    bench.drive()
    bench.ask(CONTROL, request("hold", owner="agent", reason="switch"))
    bench.tick(30)
    bench.speeds = {}
    bench.tick(30)
    bench.speeds = {"b": (0.4, 0.0)}
    bench.tick(70)
    assert isinstance(select(bench, fallback=None), dict)
    bench.ask(CONTROL, request("unhold", owner="agent"))
    bench.tick(30)
    assert bench.outputs[-1].command[0] == pytest.approx(0.4)


def test_a_shadow_is_compared_and_never_drives():
    bench = Bench()
    bench.drive()
    bench.speeds["b"] = (0.45, 0.0)
    bench.tick(60)
    document = status(bench)["slots"]["b"]["disagreement"]
    assert document["samples"] > 10
    assert document["linear_mean"] == pytest.approx(0.15)
    assert document["rate"] == 1.0
    assert not any(output.source.startswith(NEW.short) for output in bench.outputs)


def test_the_reply_to_select_fits_its_schema():
    check(select(driving_pair()), "control", "select")
