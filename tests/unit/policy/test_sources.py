"""Ages of inputs and commands, with injected time."""

from __future__ import annotations

import pytest

from model_registry.core.errors import UsageError
from stack.policy.sources import Command, Latest

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("now", "ros_now_ns", "fault"),
    [
        (10.0, 100 * SECOND, None),
        (10.29, 100 * SECOND, None),
        (10.31, 100 * SECOND, "stale"),
        (10.0, 100 * SECOND + SECOND // 2, "stale_stamp"),
        (10.0, 100 * SECOND - SECOND // 10, "future_stamp"),
        (10.0, 3700 * SECOND, "stale_stamp"),
    ],
)
def test_a_source_is_judged_by_arrival_and_by_stamp(now: float, ros_now_ns: int, fault: str | None) -> None:
    source: Latest[int] = Latest(0.3)
    source.put(1, 10.0, 100 * SECOND)
    assert source.fault(now, ros_now_ns) == fault


def test_a_source_that_never_came_is_missing() -> None:
    source: Latest[int] = Latest(0.3)
    assert source.fault(0.0, 0) == "missing"
    assert source.to_dict(0.0)["age_ms"] is None


def test_a_command_without_an_end_holds_for_ever() -> None:
    assert Command.parse('{"text":"go","seq":1,"remaining_s":null}', 5.0).holds(1e9)


def test_a_command_with_a_life_ends_with_it() -> None:
    command = Command.parse('{"text":"go","seq":1,"remaining_s":2.0}', 5.0)
    assert command.holds(6.9) and not command.holds(7.0)


@pytest.mark.parametrize("data", ["", "go", "{}", '{"text":1,"seq":1}', '{"text":"a","seq":1,"extra":2}', "x" * 5000])
def test_a_command_that_cannot_be_read_is_refused(data: str) -> None:
    with pytest.raises(UsageError, match=r"^command"):
        Command.parse(data, 0.0)
