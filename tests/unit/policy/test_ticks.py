"""Deadlines, with injected time."""

from __future__ import annotations

import threading

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


def test_a_tick_that_takes_long_is_followed_by_the_next_deadline_and_told_what_it_skipped() -> None:
    """The deadlines are a grid from the first: nothing is caught up, and a long tick does not move those behind it."""
    ticks, stop, seen = Ticks(0.1), threading.Event(), list[int]()

    def tick(periods: int) -> None:
        seen.append(periods)
        if len(seen) == 1:
            stop.wait(0.45)
        if len(seen) == 3:
            stop.set()

    thread = threading.Thread(target=ticks.run, args=(stop, tick), daemon=True)
    thread.start()
    thread.join(30.0)
    assert not thread.is_alive()
    assert seen[1] >= 4 and ticks.missed >= 3
    assert sum(seen) - len(seen) == ticks.missed


def test_lateness_is_told_over_the_last_ticks() -> None:
    ticks = Ticks(0.05)
    assert ticks.late_p99_ms is None
    for number in range(300):
        ticks.next_deadline(number, number + 0.001)
    assert ticks.late_p99_ms == pytest.approx(1.0)


def test_every_tick_is_counted_by_its_lateness() -> None:
    ticks = Ticks(0.05)
    for late_ms in (-0.01, 0.05, 1.75, 2.25, 60.0):
        ticks.next_deadline(1.0, 1.0 + late_ms / 1e3)
    assert [pair for pair in ticks.late_counts.pairs() if pair[1]] == [[0.1, 2], [2.0, 1], [3.0, 1], [None, 1]]


def test_missed_and_empty_ticks_are_trouble_and_pass_again() -> None:
    ticks = Ticks(0.05)
    for _ in range(10):
        ticks.note(empty=True)
    assert (ticks.empty, ticks.struggling) == (10, False)
    ticks.next_deadline(1.0, 1.06)
    assert ticks.struggling
    for _ in range(200):
        ticks.note(empty=False)
    assert not ticks.struggling
