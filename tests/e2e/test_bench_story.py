"""The story of the README on two bench robots: deploy over ssh, drive, deploy the next release while driving, roll back
without the registry.

The tests are its chapters and run in this order.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench import golden_restore
from tests.fakes.ros import wait_until
from tests.testbed.bench import containers, publish
from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.robot import Robot

pytestmark = pytest.mark.timeout(600)  # the first of them makes the bench

ROBOTS = ("alder", "birch")
COMMAND = "go to the red pillar"
DRIVING_MPS = 0.2
SMALL_BYTES = 100_000


def versions(bench: Bench) -> dict[str, str]:
    """What really drives each robot, by its own agent."""
    return {name: robot.agent("status")["running"]["version"] for name, robot in bench.robots.items()}


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


def test_bootstrap_a_second_time_changes_nothing(bench: Bench) -> None:
    done = bench.playbook("bootstrap", "--limit", "alder")

    assert done.returncode == 0, done.stdout[-4000:]
    assert "changed=0" in done.stdout


def test_a_release_is_pulled_over_the_bench_registry_and_drives(bench: Bench) -> None:
    report = bench.deploy("1.0.0")

    assert all(host["ok"] for host in report["hosts"].values())
    for robot in bench.robots.values():
        robot.arm()
        robot.say(COMMAND)
    for robot in bench.robots.values():
        robot.wait_driving(DRIVING_MPS)


def test_the_next_release_takes_over_while_the_robots_drive_and_fetches_only_what_is_new(bench: Bench) -> None:
    before = len(bench.requests())
    report = bench.deploy("1.1.0")

    assert all(host["ok"] and not host["restored"] for host in report["hosts"].values())
    assert set(versions(bench).values()) == {"1.1.0"}
    of_image = sum(size for path, size in bench.requests()[before:] if path.startswith("/v2/homeport/stack/"))
    assert of_image < SMALL_BYTES, "the image is the same: its description is read, and no layer of it"
    status = bench.make("status")
    assert status.returncode == 0, status.stdout[-4000:]


def test_what_runs_is_the_image_of_the_release_without_rights(bench: Bench) -> None:
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


def test_rollback_works_when_the_registry_is_gone(bench: Bench) -> None:
    bench.registry.stop(timeout=5)
    try:
        report = bench.rollback("1.0.0")
        again = bench.make("rollback", TO=bench.releases["1.0.0"])
    finally:
        bench.registry.start()

    assert all(host["ok"] and host["bytes_fetched"] == 0 for host in report["hosts"].values())
    assert again.returncode == 0 and "changed=1" not in again.stdout, "who is there stays there"
    assert set(versions(bench).values()) == {"1.0.0"}
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


def test_fleet_down_leaves_nothing_behind(bench: Bench) -> None:
    client, secrets, folder = bench.engine().client, bench.secrets, bench.folder
    pushed_to = f"{bench.registry_address}/"
    bench.down()

    assert not containers.leftovers(client, bench.name)
    assert not [tag for image in client.images.list() for tag in image.tags if tag.startswith(pushed_to)]
    assert not secrets.exists() and not folder.exists()
