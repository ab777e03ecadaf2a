"""What the reader of the tutorial does not see, on two bench robots: rights of containers, ways back offline.

The tests run in this order. The story itself is told by test_tutorial.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench import golden_restore
from tests.fakes.ros import wait_until
from tests.testbed.bench import publish
from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.robot import Robot

pytestmark = pytest.mark.timeout(600)  # the first of them makes the bench

ROBOTS = ("alder", "birch")


def versions(bench: Bench, name: str = "running") -> set[str | None]:
    """What really drives the robots, by their own agents; or what they ran before, with "previous"."""
    found = [robot.agent("status", check_code=False)[name] or {} for robot in bench.robots.values()]
    return {release.get("version") for release in found}


def image_id(bench: Bench, version: str) -> str:
    """The image that a release pins for these robots."""
    printed = publish.homeport(
        bench.secrets / "ca.crt",
        *("release", "show", f"releases/pilot:{version}", "--source", bench.source, "--json"),
    )
    return str(json.loads(printed)["document"]["images"]["cpu/amd64"]["config_digest"])


def slots(robot: Robot) -> list[dict[str, Any]]:
    """The containers of the slots that run."""
    names = robot.run("docker", "ps", "--format", "{{.Names}}", "--filter", "name=homeport-slot-").split()
    return [robot.inspect(name) for name in names]


@pytest.fixture(scope="module")
def driven(bench: Bench) -> Bench:
    """Both robots run 1.1.0, and ran 1.0.0 before."""
    if (versions(bench), versions(bench, "previous")) == ({"1.1.0"}, {"1.0.0"}):
        return bench
    if versions(bench) != {"1.0.0"}:
        bench.deploy("1.0.0")
    bench.deploy("1.1.0")
    return bench


def test_bootstrap_a_second_time_changes_nothing(bench: Bench) -> None:
    done = bench.playbook("bootstrap", "--limit", "alder")

    assert done.returncode == 0, done.stdout[-4000:]
    assert "changed=0" in done.stdout


def test_what_runs_is_the_image_of_the_release_without_rights(driven: Bench) -> None:
    bench = driven
    wanted = image_id(bench, "1.1.0")
    for robot in bench.robots.values():
        running = slots(robot)
        supervisor = robot.inspect("homeport-supervisor")
        assert running, robot.name
        assert {container["Image"] for container in running} == {wanted}
        assert {container["Config"]["User"] for container in running} == {"10001:10001"}
        assert supervisor["Config"]["User"] == "10002:10002"
        for container in [*running, supervisor]:
            host = container["HostConfig"]
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"], container["Name"]
            assert "no-new-privileges" in host["SecurityOpt"]
            assert host["RestartPolicy"]["Name"] in ("", "no")
            assert not [mount for mount in container["Mounts"] if "docker.sock" in mount["Source"]]


def test_rollback_works_when_the_registry_is_gone(driven: Bench) -> None:
    bench = driven
    bench.registry.stop(timeout=5)
    try:
        report = bench.rollback("1.0.0")
        again = bench.make("rollback", TO=bench.releases["1.0.0"])
    finally:
        bench.registry.start()

    assert all(host["ok"] and host["bytes_fetched"] == 0 for host in report["hosts"].values())
    assert again.returncode == 0 and "changed=1" not in again.stdout, "who is there stays there"
    assert versions(bench) == {"1.0.0"}
    for robot in bench.robots.values():
        assert {container["Image"] for container in slots(robot)} == {image_id(bench, "1.0.0")}


def test_a_robot_that_lost_its_power_comes_back_on_its_committed_release(bench: Bench) -> None:
    robot = bench.robots["alder"]
    robot.container.kill("SIGKILL")
    robot.on()

    def status() -> dict[str, Any]:
        return robot.agent("status", check_code=False)

    wait_until(lambda: (status()["running"] or {}).get("version") == "1.0.0", 60.0, "1.0.0 to run again")
    assert not any(robot.speeds()), "nothing moves before an operator arms it again"


def test_a_robot_whose_docker_store_was_wiped_comes_back_from_its_own_copy(bench: Bench) -> None:
    robot, wanted = bench.robots["alder"], bench.releases["1.0.0"]
    wait_until(lambda: golden_restore.copied(robot), 120.0, "the copy of the image")
    bench.registry.stop(timeout=5)
    try:
        golden_restore.restore(robot, wanted)
    finally:
        bench.registry.start()

    assert {container["Image"] for container in slots(robot)} == {image_id(bench, "1.0.0")}
