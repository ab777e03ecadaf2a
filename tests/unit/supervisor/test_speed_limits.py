"""No command leaves the limits or the slope, whatever is asked for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.limits import Limiter
from tests.fakes.supervision import LIMITS

anything = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e308])


@given(st.lists(st.tuples(anything, anything), max_size=60))
def test_no_command_is_out_of_limits_or_too_steep_or_not_finite(targets):
    limiter, last = Limiter(LIMITS, 0.02), (0.0, 0.0)
    for target in targets:
        command = limiter.follow(target)
        assert all(math.isfinite(value) for value in command)
        assert abs(command[0]) <= LIMITS.linear
        assert abs(command[1]) <= LIMITS.angular
        assert abs(command[0] - last[0]) <= LIMITS.linear_acceleration * 0.02 + 1e-12
        assert abs(command[1] - last[1]) <= LIMITS.angular_acceleration * 0.02 + 1e-12
        last = command


def test_nan_is_zero_and_not_full_speed():
    limiter = Limiter(LIMITS, 0.02)
    assert limiter.follow((math.nan, math.nan)) == (0.0, 0.0)


def test_a_reversal_is_followed_along_the_slope_and_trips_nothing():
    limiter = Limiter(LIMITS, 0.02)
    seen = [limiter.follow((0.4, 0.0))[0] for _ in range(40)] + [limiter.follow((-0.4, 0.0))[0] for _ in range(60)]
    assert (seen[39], seen[-1]) == (0.4, -0.4)
    assert max(abs(b - a) for a, b in pairwise(seen)) <= LIMITS.linear_acceleration * 0.02 + 1e-12


@given(st.lists(st.tuples(anything, anything), max_size=60))
def test_a_slope_grows_by_the_jerk_and_no_speed_passes_its_target(targets):
    limiter, steps = Limiter(LIMITS, 0.02), [0.0]
    for target in targets:
        before = limiter.last[0]
        after = limiter.follow(target)[0]
        wanted = max(-LIMITS.linear, min(LIMITS.linear, target[0])) if math.isfinite(target[0]) else 0.0
        assert min(before, wanted) - 1e-12 <= after <= max(before, wanted) + 1e-12
        steps.append(after - before)
    jerk = LIMITS.linear_jerk * 0.02**2
    for a, b in pairwise(steps):
        assert abs(b) <= (abs(a) if a * b > 0 else 0.0) + jerk + 1e-9


def test_a_cap_brakes_by_the_whole_slope_at_once():
    limiter = Limiter(LIMITS, 0.02)
    for _ in range(40):
        limiter.follow((0.4, 0.0))
    assert limiter.follow((0.4, 0.0), cap=0.1)[0] == pytest.approx(0.4 - LIMITS.linear_acceleration * 0.02)
    for _ in range(20):
        limiter.follow((0.4, 0.0), cap=0.1)
    assert limiter.last[0] == pytest.approx(0.1)


def test_zero_is_at_once():
    limiter = Limiter(LIMITS, 0.02)
    for _ in range(50):
        limiter.follow((0.5, 1.0))
    assert limiter.last == (0.5, 1.0)
    assert limiter.zero() == (0.0, 0.0)


def test_the_longest_ramp_is_that_of_the_slower_axis():
    assert Limiter(LIMITS, 0.02).longest_ramp_s == 0.25
