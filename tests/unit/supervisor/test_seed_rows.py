"""The rows of the seed's inventory that are the supervisor's: what engages a stop, what ends it, and what is told of it
(docs/seed.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from stack.supervisor import report
from stack.supervisor.state import Reason
from tests.fakes.supervision import Bench, robot

ZERO = (0.0, 0.0)
RECORD = {"timestamp", "safety_score", "processing_time", "command", "battery_level"}
EVENT = {"timestamp", "event", "reason", "state", "safety_violations_count"}


def driving(**absent):
    """A robot with a battery that drives at 0.3 m/s."""
    bench = Bench(robot(battery=True, **absent))
    bench.battery = 0.9
    bench.drive()
    assert bench.outputs[-1].command == pytest.approx((0.3, 0.0))
    return bench


def record(bench):
    return report.log_record(bench.supervisor, bench.outputs[-1].command, bench.now_s)


CAUSES = {
    "battery_low": lambda bench: setattr(bench, "battery", 0.19),
    "obstacle": lambda bench: setattr(bench, "thing", (0.0, 0.21)),
    "non_finite": lambda bench: bench.speeds.update(a=(math.nan, 0.0)),
    "wrong_width": lambda bench: bench.speeds.update(a=(0.1, 0.0, 0.0)),
    "action_stale": lambda bench: setattr(bench, "stamp_age_s", 2.0),
    "scan_stale": lambda bench: setattr(bench, "scan", False),
    "exception": lambda bench: bench.supervisor.stops.trip(Reason.EXCEPTION),
    "estop": lambda bench: bench.supervisor.estop(True, bench.now_s),
}
"""The seed's reasons to engage: battery, obstacle, unsafe command, slow tick, exception.

Its low score is none (D48).
"""


@pytest.mark.parametrize("reason", CAUSES)
def test_r14_a_stop_is_zero_one_violation_and_one_event_that_names_its_reason(reason):
    bench = driving()
    before, start = bench.supervisor.violations, len(bench.outputs)
    CAUSES[reason](bench)
    bench.tick(60)
    events = [event for output in bench.outputs[start:] for event in output.events]
    named = [event for event in events if event["event"] == "reasons" and reason in str(event["reason"])]
    assert 1 <= len(named) <= 2, "when it begins, and when only its latch is left, however long it lasts (D38)"
    assert bench.outputs[-1].command == ZERO and not bench.outputs[-1].safe
    assert bench.supervisor.violations == before + 1
    assert named and named[0]["safety_violations_count"] == before + 1
    assert all(set(event) == EVENT for event in events)


def test_r12_nothing_of_a_slot_passes_while_the_robot_is_stopped():
    bench = driving()
    bench.operator("estop")
    bench.tick(100)
    assert {(output.command, output.source) for output in bench.outputs[-90:]} == {(ZERO, "")}
    assert bench.supervisor.views["a"].run > 20, "the slot goes on all the while"


def test_r15_when_all_is_well_again_it_still_is_not_safe_until_somebody_arms_it():
    bench = driving()
    bench.battery = 0.1
    bench.tick(50)
    bench.battery = 0.9
    bench.tick(100)
    assert not report.state(bench.supervisor, bench.now_s)["blocking"]
    assert not any(output.safe for output in bench.outputs[-100:])
    bench.operator("arm")
    bench.tick(30)
    assert bench.outputs[-1].safe and bench.outputs[-1].command == pytest.approx((0.3, 0.0))


@pytest.mark.parametrize("score", [0.0, 0.75, 1.0, None])
def test_r16_a_record_says_score_age_command_and_battery_of_the_action_that_drives(score):
    bench = driving()
    bench.score = score
    bench.tick(10)
    found = record(bench)
    assert set(found) == RECORD
    assert found["safety_score"] == score
    assert 0.0 <= found["processing_time"] <= 0.06
    assert found["command"] == {"linear_x": pytest.approx(0.3), "angular_z": 0.0}
    assert found["battery_level"] == 0.9


def test_r16_a_slot_with_nothing_to_do_or_none_at_all_has_no_score():
    bench = driving()
    bench.score, bench.speeds["a"] = 0.9, (math.nan, 0.0)
    bench.tick(10)
    assert record(bench)["safety_score"] is None, "of what was dropped nothing is told"
    empty = Bench(selected=None)
    empty.tick(10)
    assert record(empty)["safety_score"] is None and record(empty)["processing_time"] is None


@pytest.mark.parametrize("score", [0.0, 0.49, 1.0])
def test_d48_a_score_moves_nothing_and_stops_nothing(score):
    with_score, without = driving(), driving()
    with_score.score = score
    for bench in (with_score, without):
        for speed in (0.4, 0.1, -0.2, 0.5):
            bench.speeds["a"] = (speed, speed / 2)
            bench.tick(25)
    told = [[replace(output, events=()) for output in bench.outputs] for bench in (with_score, without)]
    assert told[0] == told[1]
    assert [bench.state for bench in (with_score, without)] == ["RUN", "RUN"]


def test_r17_engaged_how_often_and_the_last_command_are_known_and_a_stop_forgets_the_last():
    bench = driving()
    assert bench.supervisor.limiter.last == pytest.approx((0.3, 0.0))
    for number in (1, 2):
        bench.supervisor.estop(True, bench.now_s)
        bench.tick(5)
        found = report.state(bench.supervisor, bench.now_s)
        assert (found["state"], found["armed"], found["latched"]) == ("LATCHED", False, ["estop"])
        assert bench.supervisor.violations == number
        assert bench.supervisor.limiter.last == ZERO, "what drives next starts from a stand"
        bench.supervisor.estop(False, bench.now_s)
        bench.tick(5)
        assert bench.operator("reset")["state"] == "SAFE_STOP"


def test_r18_what_ends_says_zero_and_is_disarmed():
    bench = driving()
    last = bench.supervisor.stop()
    assert (last.command, last.source, last.safe, bench.supervisor.machine.armed) == (ZERO, "", False, False)
