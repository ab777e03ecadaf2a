"""The quick part of the fault list on real processes and topics: where a robot ends, why, and that nothing resumes.

`make bench BENCH=faults` is the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.faults import CASES, QUICK, clock_outcomes, policy_outcomes
from tests.testbed.injection import run
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot

BY_NAME = {case.name: case for case in CASES}
GENEROUS_MS = 2000.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PlayedRobot, Listening]]:
    with PlayedRobot(tmp_path_factory.mktemp("faults")) as robot, Listening(robot) as heard:
        yield robot, heard


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_ends_where_it_should_and_nothing_resumes(watched: tuple[PlayedRobot, Listening], name: str) -> None:
    outcome = run(*watched, BY_NAME[name])
    if outcome.disturbed:
        outcome = run(*watched, BY_NAME[name])

    assert outcome.ended_right, outcome
    if BY_NAME[name].bar_ms is None:
        assert outcome.zero_ms is None, "it goes on"
    else:
        assert outcome.zero_ms is not None
        assert outcome.zero_ms < max(GENEROUS_MS, 2.0 * BY_NAME[name].bar_ms)


@pytest.mark.parametrize("outcome", clock_outcomes(), ids=lambda outcome: outcome.case.name)
def test_a_clock_that_is_set_stops_and_latches_nothing(outcome) -> None:
    assert outcome.ended_right and outcome.in_time, outcome


@pytest.mark.timeout(180)
def test_what_only_a_real_policy_can_do_wrong_stops_the_robot(tmp_path: Path) -> None:
    for outcome in policy_outcomes(tmp_path / "policy"):
        assert outcome.ended_right and outcome.zero_ms is not None, outcome


def test_the_list_names_every_fault_once() -> None:
    assert len(BY_NAME) == len(CASES) >= 30
    assert set(QUICK) <= set(BY_NAME)
