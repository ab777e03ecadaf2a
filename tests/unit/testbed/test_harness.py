"""What a bench reads from a slot's counts."""

from __future__ import annotations

import math

import pytest

from stack.policy.counts import Counts
from tests.bench.harness import kept_ms


@pytest.mark.parametrize(("slow", "bound_ms"), [(0, 0.3), (1, 0.3), (2, 5.0)])
def test_a_percentile_is_the_first_bound_that_so_many_of_those_between_two_statuses_keep(
    slow: int, bound_ms: float
) -> None:
    counts = Counts()
    counts.add(40.0)
    before = counts.pairs()
    for late_ms in [0.25] * (100 - slow) + [4.0] * slow:
        counts.add(late_ms)
    assert kept_ms(before, counts.pairs(), 0.99) == bound_ms


def test_no_bound_is_kept_above_the_last() -> None:
    counts = Counts()
    before = counts.pairs()
    counts.add(51.0)
    assert math.isinf(kept_ms(before, counts.pairs(), 0.99))
