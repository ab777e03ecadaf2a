"""Deadlines, with injected time."""

from __future__ import annotations

import pytest

from stack.policy.ticks import Ticks


@pytest.mark.parametrize(
    ("woke", "following", "late", "missed"),
    [
        (1.0, 1.05, 0, 0),
        (1.009, 1.05, 0, 0),
        (1.02, 1.05, 1, 0),
        (1.06, 1.1, 1, 1),
        (1.26, 1.3, 1, 5),
    ],
)
def test_a_late_tick_moves_no_deadline_and_skipped_ones_are_counted(
    woke: float, following: float, late: int, missed: int
) -> None:
    ticks = Ticks(0.05)
    assert ticks.next_deadline(1.0, woke) == pytest.approx(following)
    assert (ticks.late, ticks.missed) == (late, missed)
