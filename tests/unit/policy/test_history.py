"""What is looked back to: which of the kept values stands for each wanted moment."""

from __future__ import annotations

import pytest

from stack.policy.history import History

EVERY_S = 0.2


def filled(frames: tuple[int, ...], *times: float) -> History[float]:
    """Values that are called like the moments that they came at."""
    history: History[float] = History(frames, EVERY_S)
    for at in times:
        history.add(at, at)
    return history


@pytest.mark.parametrize(("frames", "looks_back"), [((0,), False), ((-1, 0), True), ((-4, -2, 0), True)])
def test_only_who_wants_more_than_the_newest_looks_back(frames: tuple[int, ...], looks_back: bool) -> None:
    assert History[float](frames, EVERY_S).looks_back is looks_back


@pytest.mark.parametrize("hz", [5, 15, 30, 100, 1000])
def test_each_value_is_about_as_old_as_is_wanted(hz: int) -> None:
    times = [10.0 + number / hz for number in range(3 * hz)]
    picked = filled((-3, -1, 0), *times).pick()
    assert picked[-1] == times[-1]
    for value, age_s in zip(picked, (3 * EVERY_S, EVERY_S, 0.0), strict=True):
        assert times[-1] - value == pytest.approx(age_s, abs=max(EVERY_S / 4, 1 / hz) + 1e-9)


def test_however_fast_a_source_is_only_a_few_are_kept() -> None:
    history = filled((-3, 0), *(10.0 + number / 1000 for number in range(5000)))
    assert len(history._kept) <= 4 * (3 + 1) + 4


def test_what_is_not_there_yet_is_the_oldest_there_is() -> None:
    assert filled((-2, -1, 0), 10.0).pick() == (10.0, 10.0, 10.0)
    assert filled((-2, -1, 0), 10.0, 10.2).pick() == (10.0, 10.0, 10.2)
    assert filled((-2, -1, 0), 10.0, 10.2, 10.4).pick() == (10.0, 10.2, 10.4)


def test_a_slow_source_gives_the_newest_that_is_old_enough() -> None:
    assert filled((-1, 0), 10.0, 10.5, 11.0).pick() == (10.5, 11.0)


def test_after_a_long_pause_what_was_before_is_nobodys_past() -> None:
    assert filled((-1, 0), 10.0, 10.2, 20.0).pick() == (20.0, 20.0)
