"""The worst hour of a fleet on three real robots: everybody is told what happened and what to do, nobody is left
half-done.

The cases are those of the bench `fleet_faults`, which plays more of them on four robots.
"""

from __future__ import annotations

import pytest

from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.fleet_cases import play
from tests.testbed.bench.operations import Fleet

pytestmark = pytest.mark.timeout(900)  # the first of them makes the bench

ROBOTS = ("alder", "birch", "cedar")


@pytest.fixture(scope="module")
def fleet(bench: Bench) -> Fleet:
    """All run 1.0.0, and one has a disk of its own."""
    fleet = Fleet(bench)
    fleet.prepare()
    return fleet


@pytest.mark.parametrize("case", ["frozen_and_full", "back_in_the_dark"])
def test_a_fleet_comes_through(fleet: Fleet, case: str) -> None:
    assert play(fleet, case).wrong == []
