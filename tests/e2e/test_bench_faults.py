"""The worst hour of a fleet on three real robots: everybody is told what happened and what to do, nobody is left
half-done.

The cases are those of the bench `fleet_faults`, which plays more of them on four robots.
"""

from __future__ import annotations

import pytest

from tests.testbed.bench import publish
from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.fleet_cases import play
from tests.testbed.bench.operations import OLD, Fleet

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


def test_who_is_back_stays_there_without_a_registry_on_the_image_of_its_release(fleet: Fleet) -> None:
    """The cases before have brought the robots back, and the last of them while the registry was gone."""
    bench = fleet.bench
    fleet.start_at(OLD)
    bench.registry.stop(timeout=5)
    try:
        again = bench.make("rollback", TO=bench.releases[OLD])
    finally:
        bench.registry.start()

    assert again.returncode == 0 and "changed=1" not in again.stdout, again.stdout[-4000:]
    assert all(host["ok"] and host["bytes_fetched"] == 0 for host in bench.report()["hosts"].values())
    assert set(fleet.versions().values()) == {(OLD, OLD)}
    image = publish.image_id(bench.secrets / "ca.crt", bench.source, OLD)
    for robot in bench.robots.values():
        assert {container["Image"] for container in robot.slots()} == {image}, robot.name
