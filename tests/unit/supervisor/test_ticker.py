"""The fixed-rate thread, and the watch on the ROS clock."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

from stack.supervisor.clock import ClockWatch, TickCounts, Ticker


def test_it_ticks_until_it_is_stopped_and_then_calls_last_once():
    called, deadlines, enough = [], [], threading.Event()

    def act(decided, deadline_s):
        called.append(decided)
        deadlines.append(deadline_s)
        if len(called) >= 5:
            enough.set()

    ticks = TickCounts()
    ticker = Ticker(0.005, lambda: "tick", act, lambda: called.append("last"), ticks)
    ticker.start()
    assert enough.wait(5.0)
    ticker.stop(5.0)
    assert called.count("last") == 1
    assert called[-1] == "last"
    assert all(b - a == pytest.approx(0.005 * round((b - a) / 0.005)) for a, b in pairwise(deadlines))
    assert ticks.document()["count"] == called.count("tick")


def test_it_decides_before_the_deadline_and_acts_at_it():
    seen, enough = [], threading.Event()

    def act(decided_s, deadline_s):
        seen.append((decided_s, time.monotonic(), deadline_s))
        if len(seen) >= 20:
            enough.set()

    ticker = Ticker(0.02, time.monotonic, act, lambda: None, TickCounts())
    ticker.start()
    assert enough.wait(5.0)
    ticker.stop(5.0)
    assert all(acted_s >= deadline_s for _, acted_s, deadline_s in seen)
    assert any(decided_s < deadline_s for decided_s, _, deadline_s in seen)


def test_whole_periods_that_passed_are_missed_and_not_made_up_for():
    ticks, count, enough, pause = TickCounts(), [0], threading.Event(), threading.Event()

    def act(*_):
        count[0] += 1
        if count[0] == 2:
            pause.wait(0.1)
        if count[0] == 4:
            enough.set()

    ticker = Ticker(0.01, lambda: None, act, lambda: None, ticks)
    ticker.start()
    assert enough.wait(5.0)
    ticker.stop(5.0)
    assert ticks.missed >= 7


def test_without_ticks_there_is_no_lateness():
    assert TickCounts().document() == {"count": 0, "missed": 0, "late_p99_ms": None, "scheduler": "other"}


def watched(offsets):
    """A watch that saw one offset of ROS time each 20 ms, and the time after the last."""
    clock, now_s = ClockWatch(), 0.0
    for offset in offsets:
        now_s += 0.02
        clock.update(now_s, now_s + offset)
    return clock, now_s


def test_slow_drift_is_not_a_step():
    clock, now_s = watched([index * 0.001 for index in range(500)])
    assert not clock.stepped(now_s)


@pytest.mark.parametrize("step_s", [0.06, -0.06, 3600.0, -3600.0])
def test_a_step_lasts_a_second(step_s):
    clock, now_s = watched([0.0, 0.0, step_s])
    assert clock.stepped(now_s)
    assert clock.stepped(now_s + 0.99)
    assert not clock.stepped(now_s + 1.01)


def test_stamps_that_stay_wrong_prolong_it_for_a_while_and_then_are_somebodys_fault():
    clock, now_s = watched([0.0, 3600.0])
    assert clock.excuses(now_s + 0.9)
    assert clock.stepped(now_s + 1.5)
    assert not clock.excuses(now_s + 5.1)
    assert not clock.stepped(now_s + 5.1)
