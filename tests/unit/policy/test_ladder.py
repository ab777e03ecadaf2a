"""When the policy goes down and up its ladder, with injected time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.policy.ladder import CALM_S, DWELL_S, HOT_S, LIMITS, Ladder

CALM = dict.fromkeys(LIMITS, 0.0)


def climb(loads: list[dict[str, float | None]], share: float = 0.5, rungs: int = 3) -> list[int]:
    """One look a second; the rung after each."""
    ladder, seen = Ladder(), []
    for second, load in enumerate(loads):
        ladder = ladder.step(load, share, float(second), rungs)
        seen.append(ladder.index)
    return seen


@pytest.mark.parametrize("signal", LIMITS, ids=str)
def test_each_signal_lowers_the_policy_when_it_stays_too_high(signal: str) -> None:
    hot = {**CALM, signal: LIMITS[signal][0] + 1.0}
    assert climb([hot] * 2) == [0, 0]
    assert climb([hot] * 3) == [0, 0, 1]


@pytest.mark.parametrize("signal", LIMITS, ids=str)
def test_a_signal_between_its_limits_changes_nothing(signal: str) -> None:
    enter, leave = LIMITS[signal]
    middle = {**CALM, signal: (enter + leave) / 2}
    if enter > leave:
        assert climb([middle] * 100) == [0] * 100
        hot = {**CALM, signal: enter + 1.0}
        assert climb([hot] * 3 + [middle] * 60)[2:] == [1] * 61


def test_it_goes_down_rung_by_rung_and_not_below_the_last() -> None:
    hot = {**CALM, "temperature_c": 99.0}
    seen = climb([hot] * 30)
    assert seen == [0] * 2 + [1] * 5 + [2] * 23
    assert set(climb([hot] * 30, rungs=1)) == {0}


def test_it_goes_up_again_after_a_calm_time() -> None:
    hot = {**CALM, "throttled": 1.0}
    seen = climb([hot] * 3 + [CALM] * 12)
    assert seen == [0, 0] + [1] * 11 + [0] * 2


def test_no_data_argues_for_nothing() -> None:
    unknown: dict[str, float | None] = dict.fromkeys(LIMITS)
    hot = {**CALM, "memory_percent": 99.0}
    assert climb([unknown] * 50) == [0] * 50
    assert climb([hot] * 3 + [unknown] * 60)[-1] == 1


def test_a_policy_that_uses_little_gives_up_nothing() -> None:
    assert climb([{**CALM, "cpu_percent": 100.0}] * 60, share=0.02) == [0] * 60


def test_a_rung_that_is_gone_is_left() -> None:
    ladder = Ladder(index=2, since=0.0)
    assert ladder.step(CALM, 0.5, 1.0, 2).index == 1


@given(st.lists(st.sampled_from([0.0, 70.0, 100.0]), min_size=1, max_size=120), st.floats(0.0, 1.0))
def test_it_never_flaps_whatever_the_load(loads: list[float], share: float) -> None:
    seen = climb([{**CALM, "cpu_percent": load, "memory_percent": None} for load in loads], share)
    changes = [second for second in range(1, len(seen)) if seen[second] != seen[second - 1]]
    assert all(later - earlier >= DWELL_S for earlier, later in pairwise(changes))
    assert all(abs(seen[second] - seen[second - 1]) == 1 for second in changes)
    assert HOT_S < DWELL_S < CALM_S
