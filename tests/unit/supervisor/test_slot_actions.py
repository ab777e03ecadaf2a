"""What an action may be, and which of its steps is due."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.supervisor.actions import NAMES, ActionError, ActionMessage, Fault, Identity, read_chunk
from stack.supervisor.settings import Settings

SETTINGS = Settings()


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
    assert Identity.parse(header) is None


def test_an_identity_has_release_epoch_and_number():
    assert Identity.parse("0123456789ab/77/8") == Identity("0123456789ab", 77, 8)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_refuses_the_whole_message(number):
    with pytest.raises(ActionError) as caught:
        read_chunk(message(((0.1, 0.2), (0.1, number))), SETTINGS)
    assert caught.value.fault is Fault.NON_FINITE


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
        read_chunk(bad, SETTINGS)
    assert caught.value.fault is Fault.WRONG_WIDTH


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
    assert read_chunk(message(), SETTINGS).at(10.0 + age_s) == expected


def test_before_its_first_step_an_action_says_nothing():
    assert read_chunk(message(times=(0.1, 0.2)), SETTINGS).at(10.05) is None


def test_an_action_without_steps_is_void():
    chunk = read_chunk(message(values=()), SETTINGS)
    assert chunk.void
    assert chunk.at(10.0) is None


@given(st.text(max_size=90))
def test_no_header_raises(header):
    Identity.parse(header)
