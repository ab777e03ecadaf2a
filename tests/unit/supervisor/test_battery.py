"""What a battery's level can be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.battery import Battery


@pytest.mark.parametrize(("said", "level"), [(0.0, 0.0), (0.37, 0.37), (1.0, 1.0), (1.004, 1.0), (1.05, 1.0)])
def test_a_level_is_taken_and_a_little_more_than_full_is_full(said, level):
    battery = Battery(3.0)
    assert battery.hear(said, 0.0) is None
    assert battery.level == level


@pytest.mark.parametrize("said", [1.2, 19.0, 87.0, 100.0])
def test_percent_is_told_as_such(said):
    battery = Battery(3.0)
    assert battery.hear(said, 0.0) == f"says {said:g}, which looks like percent; expected 0 to 1: fix the driver"
    assert battery.level is None


@pytest.mark.parametrize("said", [math.nan, math.inf, -1.0, -0.1, 3e38, 200.0])
def test_anything_else_is_not_known(said):
    battery = Battery(3.0)
    assert battery.hear(said, 0.0).startswith("level is not known: ")
    assert battery.level is None


def test_the_last_percent_is_not_full():
    battery = Battery(3.0)
    faults = [battery.hear(said, float(number)) for number, said in enumerate((3.0, 1.4, 1.0, 0.6, 0.2))]
    assert all("percent" in fault for fault in faults)
    battery.forget()
    assert battery.hear(0.9, 9.0) is None


def test_a_driver_that_was_put_right_is_believed():
    battery = Battery(3.0)
    battery.hear(87.0, 0.0)
    assert battery.hear(0.87, 1.0) is None
    assert battery.level == 0.87


def test_of_two_batteries_on_one_topic_the_lower_one_counts_while_it_is_heard():
    battery = Battery(3.0)
    battery.hear(0.9, 0.0, b"a")
    battery.hear(0.1, 0.5, b"b")
    battery.hear(0.9, 1.0, b"a")
    assert battery.level == 0.1
    battery.hear(0.9, 4.0, b"a")
    assert battery.level == 0.9


def test_of_two_batteries_an_unknown_one_is_a_fault():
    battery = Battery(3.0)
    battery.hear(math.nan, 0.0, b"a")
    assert battery.hear(0.9, 0.5, b"b") is not None
    assert battery.level is None


@given(st.lists(st.tuples(st.floats(), st.binary(max_size=2)), max_size=60))
def test_a_known_level_is_a_share_and_every_other_has_a_reason(story):
    battery = Battery(3.0)
    for number, (said, pack) in enumerate(story):
        fault = battery.hear(said, 0.1 * number, pack)
        assert (battery.level is None) == (fault is not None)
        assert battery.level is None or 0.0 <= battery.level <= 1.0
    assert len(battery._packs) <= 16
