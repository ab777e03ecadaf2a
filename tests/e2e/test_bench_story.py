"""What the reader of the tutorial does not see, on two bench robots: rights of containers, and a robot that comes back
by itself.

The tests run in this order. The story itself is told by test_tutorial.py; the way back of a fleet that is offline by
test_bench_faults.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import golden_restore
from tests.fakes.ros import wait_until
from tests.testbed.bench import publish
from tests.testbed.bench.fleet import Bench

pytestmark = pytest.mark.timeout(600)  # the first of them makes the bench

ROBOTS = ("alder", "birch")


@pytest.fixture(scope="module")
def driven(bench: Bench) -> Bench:
    """Both robots run 1.0.0."""
    running = [robot.agent("status", check_code=False)["running"] or {} for robot in bench.robots.values()]
    if {release.get("version") for release in running} != {"1.0.0"}:
        bench.deploy("1.0.0")
    return bench


def test_bootstrap_a_second_time_changes_nothing(bench: Bench) -> None:
    done = bench.playbook("bootstrap", "--limit", "alder")

    assert done.returncode == 0, done.stdout[-4000:]
    assert "changed=0" in done.stdout


def test_what_runs_is_the_image_of_the_release_without_rights(driven: Bench) -> None:
    wanted = publish.image_id(driven.secrets / "ca.crt", driven.source, "1.0.0")
    for robot in driven.robots.values():
        running = robot.slots()
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


def test_a_robot_that_lost_its_power_comes_back_on_its_committed_release(driven: Bench) -> None:
    robot = driven.robots["alder"]
    robot.container.kill("SIGKILL")
    robot.on()

    def status() -> dict[str, Any]:
        return robot.agent("status", check_code=False)

    wait_until(lambda: (status()["running"] or {}).get("version") == "1.0.0", 60.0, "1.0.0 to run again")
    assert not any(robot.speeds()), "nothing moves before an operator arms it again"


def test_a_robot_whose_docker_store_was_wiped_comes_back_from_its_own_copy(driven: Bench) -> None:
    robot, wanted = driven.robots["alder"], driven.releases["1.0.0"]
    wait_until(lambda: golden_restore.copied(robot), 120.0, "the copy of the image")
    driven.registry.stop(timeout=5)
    try:
        golden_restore.restore(robot, wanted)
    finally:
        driven.registry.start()

    image = publish.image_id(driven.secrets / "ca.crt", driven.source, "1.0.0")
    assert {container["Image"] for container in robot.slots()} == {image}
