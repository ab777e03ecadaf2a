"""Scans that contradict themselves, and scans that were heard before."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.repeats import Repeats
from stack.supervisor.scan import Scan, contradiction
from tests.fakes.supervision import Bench, status

DEG = math.pi / 180
FULL = 360


def scan(beams, increment, angle_min=-math.pi, angle_max=None, ranges=3.0, **fields):
    """A scan whose `angle_max` is right unless it is given, with the header's numbers as float32, as a message has
    them.
    """
    last = angle_min + (beams - 1) * increment
    header = {
        "angle_min": angle_min,
        "angle_increment": increment,
        "angle_max": last if angle_max is None else angle_max,
    }
    told = {name: float(np.float32(value)) for name, value in header.items()}
    found = Scan(0.0, range_min=0.05, range_max=10.0, ranges=np.full(beams, ranges, dtype=np.float32), **told)
    return replace(found, **fields)


@st.composite
def legal_scans(draw):
    """What scanners on the market say: any number of beams, mounted either way, part of a turn or all of it, and
    `angle_max` as each driver sees it.
    """
    beams = draw(st.integers(2, 4000))
    span = draw(st.floats(0.1, math.tau))
    exclusive = draw(st.booleans())
    increment = span / (beams if exclusive else beams - 1) * draw(st.sampled_from([1, -1]))
    angle_min = draw(st.floats(-math.pi, math.pi))
    last = angle_min + (beams - 1) * increment
    off_by = draw(st.sampled_from([0.0, 1.0, -1.0]))
    found = scan(beams, increment, angle_min, last + off_by * increment)
    return replace(
        found, frame=draw(st.text(max_size=5)), range_max=draw(st.sampled_from([3.5, 10.0, 3.4e38, math.inf]))
    )


@given(legal_scans())
def test_a_scan_as_drivers_make_them_contradicts_nothing(found):
    assert contradiction(found) is None


def wide(found):
    """Whether it has beams enough to tell a tenth of them, or of the increment, from the slack that drivers need."""
    return found.ranges.size >= 100 and abs(found.ranges.size * found.angle_increment) >= 1.0


@given(
    legal_scans().filter(wide),
    st.sampled_from([0.5, 2.0, -1.0, 180 / math.pi, 0.9, 1.1]),
)
def test_a_scan_whose_increment_is_another_one_contradicts_itself(found, factor):
    wrong = contradiction(replace(found, angle_increment=found.angle_increment * factor))
    assert wrong is not None
    assert wrong.startswith(("contradicts itself: ", "cannot be read: "))


@given(legal_scans().filter(wide), st.floats(0.0, 0.85))
def test_a_scan_that_has_lost_beams_contradicts_itself(found, share):
    fewer = replace(found, ranges=found.ranges[: max(1, int(share * found.ranges.size))])
    assert contradiction(fewer) is not None


@given(
    legal_scans(),
    st.sampled_from(["angle_min", "angle_max", "angle_increment"]),
    st.sampled_from([math.nan, math.inf, 3e38, -180.0]),
)
def test_a_scan_with_an_angle_that_cannot_be_is_not_read(found, name, value):
    assert contradiction(replace(found, **{name: value})) is not None


def test_the_sentence_carries_both_numbers():
    assert contradiction(scan(720, DEG, angle_max=math.pi)) == (
        "contradicts itself: 720 beams of 0.0174533 rad cover 12.55 rad, and a turn has 6.283 rad; fix the driver"
    )
    assert contradiction(scan(360, 0.5 * DEG, angle_max=math.pi)) == (
        "contradicts itself: 360 beams of 0.00872665 rad cover 3.133 rad, "
        "angle_min to angle_max 6.283 rad; fix the driver"
    )


def test_an_angle_max_that_nobody_has_set_contradicts_a_full_turn():
    assert "3.142 rad" in contradiction(scan(360, DEG, angle_max=0.0))


def test_angles_in_degrees_are_told_as_such():
    assert "looks like degrees" in contradiction(scan(360, 1.0, angle_min=-180.0))


def test_millimetres_are_no_free_way():
    ranges = np.linspace(350, 5000, FULL, dtype=np.float32)
    assert "ranges up to 5000 with a range_max of 10 m" in contradiction(scan(FULL, DEG, ranges=ranges))


@pytest.mark.parametrize("value", [65.535, 3.4e38, math.inf, math.nan, 0.0, 10.0, 10.5])
def test_a_number_that_stands_for_no_echo_is_no_other_unit(value):
    assert contradiction(scan(FULL, DEG, ranges=value)) is None


def living(number, seed=0, beams=FULL):
    """What a scanner sees in a hall of 5 m, with 3 mm of noise in millimetres."""
    noise = np.random.default_rng((seed, number)).normal(0.0, 0.003, beams)
    return scan(beams, math.tau / beams, ranges=np.round(5.0 + noise, 3))


def news(scans):
    repeats = Repeats()
    return [repeats.new(found) for found in scans]


def test_a_living_scanner_always_says_something_new():
    assert all(news(living(number) for number in range(500)))
    assert all(news(living(number, beams=90) for number in range(500)))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20, 300])
def test_old_scans_in_turn_say_nothing_new_in_their_second_round(count):
    assert not any(news(living(number % count) for number in range(3 * count))[count:])


@pytest.mark.parametrize("live", [1, 5])
@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_old_scans_with_a_few_living_beams_say_nothing_new(live, count):
    def mixed(number):
        ranges = living(number % count).ranges.copy()
        ranges[:live] = living(number, seed=1).ranges[:live]
        return replace(living(0), ranges=ranges)

    assert not any(news(mixed(number) for number in range(3 * count))[count:])


@pytest.mark.parametrize("value", [math.inf, 10.0, 12.0, 65.535, math.nan])
def test_an_empty_hall_is_nothing_to_compare(value):
    assert news([scan(FULL, DEG, ranges=value)] * 20)[1:] == [None] * 19


def test_an_old_scan_and_an_empty_one_in_turn_are_no_news():
    assert not any(news([living(0), scan(FULL, DEG, ranges=math.inf)] * 5)[2:])


def test_few_echoes_that_change_are_news():
    def poles(number):
        ranges = np.full(FULL, math.inf, dtype=np.float32)
        ranges[100:104] = 4.0 - 0.03 * number
        return scan(FULL, DEG, ranges=ranges)

    assert all(news(poles(number) for number in range(50)))


def test_a_simulator_without_noise_may_come_back_to_what_it_showed():
    assert all(news(scan(FULL, DEG, ranges=5.0 + 1e-3 * (number % 7)) for number in range(50)))


@given(st.lists(st.lists(st.floats(width=32), min_size=1, max_size=40), max_size=20))
def test_any_ranges_can_be_compared(lists):
    news(scan(len(ranges), 0.01, ranges=np.asarray(ranges, dtype=np.float32)) for ranges in lists)


def drive_with(bend_scan):
    bench = Bench()
    bench.drive()
    bench.bend_scan = bend_scan
    bench.tick(60)
    return status(bench)["sources"]["scan"]["fault"], bench


def test_a_contradiction_stops_and_is_told():
    fault, bench = drive_with(lambda found: replace(found, angle_increment=2 * found.angle_increment))
    assert fault.startswith("contradicts itself: 360 beams")
    assert status(bench)["reasons"] == ["scan_bad"]
    assert bench.outputs[-1].command == (0.0, 0.0)


@pytest.mark.parametrize("name", ["two in turn", "one living beam"])
def test_scans_that_are_played_again_are_frozen(name):
    count = iter(range(10_000))

    def replay(found):
        number = next(count)
        old = living(number % 2 if name == "two in turn" else 0).ranges.copy()
        if name == "one living beam":
            old[7] += 0.001 * number
        return replace(found, ranges=old)

    fault, bench = drive_with(replay)
    assert fault == "frozen"
    assert bench.outputs[-1].command == (0.0, 0.0)


@pytest.mark.parametrize("value", [10.0, math.inf, 65.0])
def test_an_empty_hall_drives(value):
    fault, bench = drive_with(lambda found: replace(found, ranges=np.full(FULL, value, dtype=np.float32)))
    assert (fault, bench.state) == (None, "RUN")


def test_another_frame_is_a_fault_until_the_old_one_is_back_or_somebody_resets():
    fault, bench = drive_with(lambda found: replace(found, frame="rear"))
    assert fault.startswith("another frame_id: 'rear', before 'lidar'; ")
    bench.bend_scan = lambda found: found
    bench.tick(6)
    assert status(bench)["blocking"] == []
    bench.bend_scan = lambda found: replace(found, frame="rear")
    bench.tick(6)
    assert status(bench)["blocking"] == ["scan_bad"]
    bench.operator("reset")
    bench.tick(6)
    assert status(bench)["blocking"] == []
