"""Ages of inputs and commands, with injected time."""

from __future__ import annotations

import json

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError
from stack.policy.sources import Command, Latest, selects
from tests.fakes.schemas import check

SECOND, MS = 1_000_000_000, 1_000_000


@pytest.mark.parametrize(
    ("now", "ros_now_ns", "fault"),
    [
        (10.0, 100 * SECOND, None),
        (10.29, 100 * SECOND + 290 * MS, None),
        (10.31, 100 * SECOND + 310 * MS, "stale"),
        (10.0, 100 * SECOND + 500 * MS, "stale_stamp"),
        (10.2, 100 * SECOND + 400 * MS, "stale_stamp"),
        (10.0, 100 * SECOND - 100 * MS, "future_stamp"),
        (10.2, 100 * SECOND + 100 * MS, "future_stamp"),
        (10.0, 3700 * SECOND, "stale_stamp"),
    ],
)
def test_a_source_is_judged_by_arrival_and_by_stamp(now: float, ros_now_ns: int, fault: str | None) -> None:
    """A stamp that was ahead when it came is no better for having waited until the clock has caught up with it."""
    source: Latest[int] = Latest(0.3)
    source.put(1, 10.0, 100 * SECOND)
    assert source.fault(now, ros_now_ns) == fault


@pytest.mark.parametrize("stamp_ns", [0, -5 * SECOND, 4213 * SECOND, 99 * SECOND, 3700 * SECOND])
def test_without_usable_stamps_a_source_is_as_old_as_its_arrival_says(stamp_ns: int) -> None:
    source: Latest[int] = Latest(0.3, stamps=False)
    source.put(1, 10.0, stamp_ns)
    assert source.fault(10.2, 100 * SECOND + 200 * MS) is None
    assert source.fault(10.31, 100 * SECOND + 310 * MS) == "stale"


def test_a_source_of_which_no_message_can_be_used_is_not_called_silent() -> None:
    source: Latest[int] = Latest(0.3)
    source.reject(UsageError("camera: no; do"), 10.0)
    assert source.fault(10.1, 0) == "unreadable" and source.refused
    assert source.fault(10.4, 0) == "missing"
    source.put(1, 10.5, 100 * SECOND)
    assert source.fault(10.5, 100 * SECOND) is None and not source.refused
    source.reject(UsageError("camera: no; do"), 11.0)
    assert source.fault(11.0, 100 * SECOND) == "unreadable"
    assert source.fault(11.4, 100 * SECOND) == "stale"


def test_a_source_that_never_came_is_missing() -> None:
    source: Latest[int] = Latest(0.3)
    assert source.fault(0.0, 0) == "missing"
    assert source.to_dict(0.0)["age_ms"] is None


def test_the_same_picture_under_new_stamps_is_frozen() -> None:
    source: Latest[int] = Latest(0.3, frozen_after=3)
    for number, sample in enumerate((b"a", b"a", b"a", b"a")):
        assert source.fault(10.0, 100 * SECOND) in (None, "missing")
        source.put(number, 10.0, 100 * SECOND, sample=sample)
    assert source.fault(10.0, 100 * SECOND) == "frozen"
    source.put(5, 10.0, 100 * SECOND, sample=b"b")
    assert source.fault(10.0, 100 * SECOND) is None


def test_a_few_old_pictures_that_are_shown_in_turn_are_frozen() -> None:
    source: Latest[int] = Latest(0.3, frozen_after=6)
    for number in range(9):
        source.put(number, 10.0, 100 * SECOND, sample=(b"a", b"b", b"c")[number % 3])
    assert source.fault(10.0, 100 * SECOND) == "frozen"
    source.put(10, 10.0, 100 * SECOND, sample=b"d")
    assert source.fault(10.0, 100 * SECOND) is None


def test_zero_repeats_never_look_for_a_frozen_source() -> None:
    source: Latest[int] = Latest(0.3)
    for _ in range(1000):
        source.put(1, 10.0, 100 * SECOND, sample=b"a")
    assert source.fault(10.0, 100 * SECOND) is None


def test_a_source_that_says_nothing_is_blind() -> None:
    source: Latest[int] = Latest(0.3)
    source.put(1, 10.0, 100 * SECOND, valid=0.0)
    assert source.fault(10.0, 100 * SECOND) == "blind"
    source.put(1, 10.0, 100 * SECOND, valid=0.2)
    assert source.fault(10.0, 100 * SECOND) is None
    assert source.to_dict(10.0)["valid"] == 0.2


def test_a_source_knows_its_interval() -> None:
    source: Latest[int] = Latest(0.3)
    for number in range(50):
        source.put(1, 10.0 + number / 15, 0)
    assert source.interval_s == pytest.approx(1 / 15)


def test_a_command_without_an_end_holds_for_ever() -> None:
    assert Command.parse('{"text":"go","seq":1,"remaining_s":null}', 5.0).holds(1e9)


def test_a_command_with_a_life_ends_with_it() -> None:
    command = Command.parse('{"text":"go","seq":1,"remaining_s":2.0}', 5.0)
    assert command.holds(6.9) and not command.holds(7.0)


@pytest.mark.parametrize("data", ["", "go", "{}", '{"text":1,"seq":1}', '{"text":"a","seq":1,"extra":2}', "x" * 5000])
def test_a_command_that_cannot_be_read_is_refused(data: str) -> None:
    with pytest.raises(UsageError, match=r"^command"):
        Command.parse(data, 0.0)


MINE = str(Digest.of(b"release"))


@pytest.mark.parametrize(
    ("selected", "mine"),
    [
        ({"slot": "a", "release": MINE, "epoch": 7}, True),
        ({"slot": "a", "release": MINE, "epoch": None}, True),
        ({"slot": "b", "release": MINE, "epoch": 7}, False),
        ({"slot": "a", "release": str(Digest.of(b"other")), "epoch": 7}, False),
        (None, False),
    ],
)
def test_a_slot_knows_from_the_supervisors_state_whether_it_drives(selected: object, mine: bool) -> None:
    state = {
        **{"schema": 1, "protocol": 1, "seq": 3, "monotonic_ns": 5, "state": "RUN", "armed": True, "held": False},
        **{"reasons": [], "latched": [], "blocking": [], "limited_by": [], "probation": None, "reverted": None},
        "unheard": [],
        "selected": selected,
    }
    check(state, "supervisor-state")
    assert selects(json.dumps(state), "a", MINE) is mine


@pytest.mark.parametrize("state", ["", "{", "[]", "{}", '{"selected": {"slot": "a"}}', '{"selected": "a"}'])
def test_a_state_that_cannot_be_read_selects_nobody(state: str) -> None:
    assert not selects(state, "a", MINE)
