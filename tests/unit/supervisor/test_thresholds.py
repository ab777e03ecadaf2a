"""Thresholds get stricter at any time, looser only while the robot stands disarmed, never looser than robot.toml."""

from __future__ import annotations

import itertools
import math

import pytest

from model_registry.core.errors import RefusedError, UsageError
from stack.supervisor.state import Reason
from stack.supervisor.thresholds import DESCRIPTIONS, NAMES, Thresholds, changed, span
from tests.fakes.supervision import Bench, robot

BODY = robot()
OWN = Thresholds.of(BODY)
STRICTER = {name: 1.0 if name.startswith("min") else 0.5 * getattr(OWN, name) for name in NAMES}


def test_r13_every_threshold_of_the_seed_has_a_name_a_range_and_a_description():
    assert set(DESCRIPTIONS) == set(NAMES)
    for name in NAMES:
        low, high = span(name, BODY)
        assert low <= getattr(OWN, name) <= high


@pytest.mark.parametrize("name", NAMES)
def test_a_stricter_threshold_is_taken_at_any_time_and_a_looser_one_only_at_a_stand(name):
    strict = changed(OWN, name, STRICTER[name], BODY, may_loosen=False)
    assert getattr(strict, name) == STRICTER[name]
    with pytest.raises(RefusedError, match="looser"):
        changed(strict, name, getattr(OWN, name), BODY, may_loosen=False)
    assert changed(strict, name, getattr(OWN, name), BODY, may_loosen=True) == OWN


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1.0, 1e9, math.nan, math.inf])
def test_no_threshold_leaves_what_robot_toml_allows(name, value):
    with pytest.raises(UsageError, match=r"robot\.toml"):
        changed(OWN, name, value, BODY, may_loosen=True)


def test_a_lower_speed_limit_brakes_a_moving_robot_and_cannot_be_taken_back_while_it_moves():
    bench = Bench()
    bench.drive()
    bench.supervisor.adjust({"max_linear": 0.1})
    bench.tick(30)
    assert bench.outputs[-1].command[0] == pytest.approx(0.1)
    assert bench.state == "LIMITED"
    assert bench.supervisor.envelope.limited_by == ("speed",)
    with pytest.raises(RefusedError):
        bench.supervisor.adjust({"max_linear": 0.5})
    bench.operator("estop")
    bench.tick()
    bench.supervisor.adjust({"max_linear": 0.5})


def test_a_higher_battery_floor_stops():
    bench = Bench(robot(battery=True))
    bench.supervisor.sources.charge(0.5, bench.now_s)
    bench.tick()
    assert Reason.BATTERY_LOW not in bench.supervisor.machine.reasons
    bench.supervisor.adjust({"min_battery": 0.6})
    bench.tick()
    assert Reason.BATTERY_LOW in bench.supervisor.machine.reasons


def test_an_older_observation_than_asked_for_stops():
    bench = Bench()
    bench.drive()
    bench.supervisor.adjust({"max_processing_time": 0.1})
    bench.stamp_age_s = 0.2
    bench.tick(6)
    assert not bench.supervisor.machine.armed


def test_a_smaller_deviation_makes_the_speed_rise_more_slowly_and_brakes_as_before():
    bench = Bench()
    bench.supervisor.adjust({"max_action_deviation": 0.05})
    bench.tick(70)
    bench.operator("arm")
    start = len(bench.outputs)
    bench.tick(20)
    speeds = [output.command[0] for output in bench.outputs[start:]]
    assert max(b - a for a, b in itertools.pairwise(speeds)) <= 0.05 * 0.2 + 1e-9
    bench.supervisor.voice.append("stop")
    bench.tick(2)
    assert bench.outputs[-2].command[0] - bench.outputs[-1].command[0] == pytest.approx(0.04)


def test_a_smaller_deviation_does_not_keep_a_slot_from_slowing_down():
    bench = Bench()
    bench.drive()
    bench.supervisor.adjust({"max_action_deviation": 0.002})
    bench.speeds["a"] = (0.1, 0.0)
    bench.tick(30)
    assert bench.outputs[-1].command[0] == pytest.approx(0.1)


def test_of_several_thresholds_all_are_set_or_none():
    bench = Bench()
    with pytest.raises(UsageError):
        bench.supervisor.adjust({"max_linear": 0.1, "max_angular": 99.0})
    bench.tick()
    assert bench.supervisor.envelope.thresholds == OWN
