"""A rollout over three robots of which one is off and one has a full disk: everybody is told what happened, nobody is
left half-done.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.testbed.bench.fleet import Bench

pytestmark = pytest.mark.timeout(600)  # the first of them makes the bench

ROBOTS = HEALTHY, OFF, FULL = ("alder", "birch", "cedar")


@pytest.fixture(scope="module")
def faulty(bench: Bench) -> Iterator[Bench]:
    """All run 1.0.0; then one is switched off, and the disk of another is nearly full."""
    bench.robots[FULL].give_disk()
    bench.deploy("1.0.0")
    bench.robots[OFF].off()
    resize(bench, "100m")
    yield bench
    repair(bench)


def resize(bench: Bench, size: str) -> None:
    bench.robots[FULL].run("mount", "-o", f"remount,size={size}", "/mnt")


def repair(bench: Bench) -> None:
    """Switch on, and make room."""
    resize(bench, "2g")
    bench.robots[OFF].on()


def running(bench: Bench, name: str) -> tuple[str, str]:
    """The versions that drive and that are committed."""
    status = bench.robots[name].agent("status")
    return status["running"]["version"], status["current"]["version"]


def test_a_rollout_over_broken_robots_is_halted_before_anybody_switches(faulty: Bench) -> None:
    done = faulty.make("deploy", RELEASE=faulty.releases["1.1.0"])
    report = faulty.report()

    assert done.returncode != 0
    assert report["halted"]
    hosts = report["hosts"]
    assert hosts[OFF]["failure"]["stage"] == "UNREACHABLE"
    assert hosts[FULL]["failure"]["stage"] == "PREFLIGHT"
    assert "make room" in hosts[FULL]["failure"]["message"]
    assert not any(host["touched"] for host in hosts.values())
    assert running(faulty, HEALTHY) == running(faulty, FULL) == ("1.0.0", "1.0.0")


def test_a_rollout_that_may_lose_two_robots_changes_the_healthy_one(faulty: Bench) -> None:
    wanted = faulty.releases["1.1.0"]
    done = faulty.rollout("1.1.0", homeport_max_failed=2)
    report = faulty.report()

    assert done.returncode != 0
    assert not report["halted"]
    assert {name for name, host in report["hosts"].items() if host["ok"]} == {HEALTHY}
    assert running(faulty, HEALTHY) == ("1.1.0", "1.1.0")
    assert running(faulty, FULL) == ("1.0.0", "1.0.0")
    left = faulty.robots[FULL].run("ls", "/var/lib/homeport/releases", "/var/lib/homeport/ingest")
    assert wanted.removeprefix("sha256:")[:12] not in left


def test_the_same_rollout_heals_all_once_they_are_repaired(faulty: Bench) -> None:
    repair(faulty)
    report = faulty.deploy("1.1.0")

    assert all(host["ok"] for host in report["hosts"].values())
    assert {running(faulty, name) for name in faulty.robots} == {("1.1.0", "1.1.0")}
