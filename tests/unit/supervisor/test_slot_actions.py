"""What an action may be, and which of its steps is due."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.actions import NAMES, ActionAuthor, ActionError, ActionMessage
from stack.supervisor.state import Reason


def message(values=((0.1, 0.2), (0.3, 0.4)), times=None, names=NAMES):
    times = tuple(0.05 * index for index in range(len(values))) if times is None else times
    return ActionMessage("0" * 12 + "/1/1", 999.9, names, times, values, 10.0, 1000.0)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "abc",
        "0123456789ab/1",
        "0123456789ab/1/2/3",
        "0123456789AB/1/2",
        "0123456789ab/-1/2",
        "0123456789ab/1/x",
        "0123456789ab/1/" + "9" * 70,
        "../../../..///",
        "0123456789ab/١/2",
    ],
)
def test_a_header_that_is_not_an_identity_is_nobodys(header):
    assert ActionAuthor.parse(header) is None


def test_an_identity_has_release_epoch_and_number():
    assert ActionAuthor.parse("0123456789ab/77/8") == ActionAuthor("0123456789ab", 77, 8)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_refuses_the_whole_message(number):
    with pytest.raises(ActionError) as caught:
        message(((0.1, 0.2), (0.1, number))).checked()
    assert caught.value.fault is Reason.NON_FINITE


@pytest.mark.parametrize(
    "bad",
    [
        message(names=("linear_x",)),
        message(names=("angular_z", "linear_x")),
        message(values=((0.1,),)),
        message(values=((0.1, 0.2, 0.3),)),
        message(times=(0.0,)),
        message(times=(0.05, 0.05)),
        message(times=(-0.1, 0.0)),
        message(values=((0.1, 0.2),) * 513),
    ],
)
def test_another_shape_refuses_the_whole_message(bad):
    with pytest.raises(ActionError) as caught:
        bad.checked()
    assert caught.value.fault is Reason.WRONG_WIDTH


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (-0.01, (0.1, 0.2)),
        (0.0, (0.1, 0.2)),
        (0.049, (0.1, 0.2)),
        (0.051, (0.3, 0.4)),
        (0.119, (0.3, 0.4)),
        (0.121, None),
        (9.0, None),
    ],
)
def test_a_step_is_applied_in_its_time_and_never_after_the_last(age_s, expected):
    assert message().checked().at(10.0 + age_s) == expected


def test_before_its_first_step_an_action_says_nothing():
    assert message(times=(0.1, 0.2)).checked().at(10.05) is None


def test_an_action_without_steps_is_void():
    chunk = message(values=()).checked()
    assert chunk.void
    assert chunk.at(10.0) is None


@given(st.text(max_size=90))
def test_no_header_raises(header):
    ActionAuthor.parse(header)
