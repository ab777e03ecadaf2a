"""Whose `/cmd_vel` it is."""

from __future__ import annotations

import pytest

from stack.supervisor.writers import Writers


def test_what_was_sent_is_ones_own_once_it_comes_back():
    writers = Writers()
    for speed in (0.1, 0.2, 0.3):
        writers.sent((speed, 0.0))
    assert [writers.foreign(number, (number / 10, 0.0)) for number in (1, 2)] == [False, False]
    assert not writers.foreign(3, (0.3, 0.0))


@pytest.mark.parametrize("number", [1, 7, None])
def test_another_value_or_number_is_somebody_elses(number):
    writers = Writers()
    writers.sent((0.1, 0.0))
    assert writers.foreign(number, (0.5, 0.0))


def test_the_same_value_under_another_number_is_somebody_elses():
    writers = Writers()
    for _ in range(100):
        writers.sent((0.0, 0.0))
    assert not writers.foreign(100, (0.0, 0.0))
    assert writers.foreign(101, (0.0, 0.0))
    assert writers.foreign(5000, (0.0, 0.0))


def test_only_the_newest_are_remembered():
    writers = Writers()
    for _ in range(1000):
        writers.sent((0.0, 0.0))
    assert writers.foreign(1, (0.0, 0.0))
    assert not writers.foreign(990, (0.0, 0.0))
