"""Cut the agent off at every edge of its journal, in every way: the robot ends on the old release, the new one, or
nothing where nothing was, and says which.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fakes.rig import TOP
from tests.fakes.stand_in import StandIn
from tests.testbed.edges import Range
from tests.testbed.scenarios import FAULTS, Point, points

POINTS = points()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    with StandIn(tmp_path_factory.mktemp("matrix")) as robot:
        robot.prepare()
        yield Range(robot)


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len(POINTS) >= 500 and len(set(POINTS)) == len(POINTS)
    assert {point.fault for point in POINTS} == set(FAULTS)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_every_point_ends_on_the_old_release_or_the_new_one(played: Range, point: Point) -> None:
    outcome = played.play(point)
    assert outcome.fired, "the fault did not fire, so that the point says nothing"
    assert outcome.wrong == []


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        ("no_fsync", ["switch-COMMIT:intent", "power_cut"]),
        ("no_gate", ["bad", "kill_after"]),
        ("no_crc", ["switch", "torn_journal"]),
    ],
)
def test_without_one_of_its_safeguards_the_matrix_fails(sabotage: str, words: list[str]) -> None:
    argv = [sys.executable, "-m", "tests.bench.fault_matrix", *words]
    done = subprocess.run(
        argv, cwd=TOP, env={**os.environ, "SABOTAGE": sabotage}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert '"bench": "fault_matrix"' in done.stdout, done.stderr
