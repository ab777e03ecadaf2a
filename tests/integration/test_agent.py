"""One simulated robot, everything real:

1.0.0 → 1.1.0 while it drives → a bad 1.2.0 caught → back without any source.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from tests.fakes.rig import ROBOT
from tests.fakes.robot import remove_run_folder
from tests.fakes.ros import REPOSITORY, wait_until
from tests.testbed import ticks
from tests.testbed.fleet import Robot
from tests.testbed.registry import LOCK, Published, build_agent


def install(robot: Robot, published: Published) -> None:
    """What the role `device` does, by hand."""
    layout = robot.layout
    (layout.etc / "keys").mkdir(parents=True)
    for path in published.keys.glob("*.pub"):
        (layout.etc / "keys" / path.name).write_bytes(path.read_bytes())
    layout.robot_toml.write_text(ROBOT)
    layout.dds_profile.write_bytes((REPOSITORY / "images" / "dds.xml").read_bytes())
    settings = {
        "schema": 1,
        "runtime": "process",
        "source": published.source,
        "repository": "releases/pilot",
        "domain_id": robot.domain,
        "device_python": sys.executable,
        "device_path": [str(REPOSITORY)],
    }
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    layout.agent_toml.write_text(f"{text}\n[gate]\nprobation_s = 4.0\n")
    environment = layout.environment(Digest.of_file(LOCK))
    environment.parent.mkdir(parents=True)
    environment.symlink_to(Path(sys.executable).parents[1])
    robot.agent_file.parent.mkdir(parents=True)
    build_agent(robot.agent_file)


@pytest.fixture
def robot(tmp_path: Path, published: Published) -> Iterator[Robot]:
    robot = Robot("alder", tmp_path, seed=11)
    try:
        install(robot, published)
        robot.power_on()
        yield robot
    finally:
        robot.power_off()
        remove_run_folder(robot.root)


@pytest.mark.timeout(240)
def test_a_release_changes_while_the_robot_drives_and_comes_back_without_a_source(
    robot: Robot, published: Published
) -> None:
    one, two, bad = (published.releases[version] for version in ("1.0.0", "1.1.0", "1.2.0"))
    robot.agent("stage", one)
    assert robot.agent("switch", one)["stage"] == "COMMIT"
    robot.say("go to the red pillar")
    robot.arm()
    wait_until(lambda: robot.speed() >= 0.05, 40.0, "the robot to drive")

    robot.agent("stage", two)
    changed = robot.agent("switch", two, "--gate", "moving")
    assert [gate["verdict"] for gate in changed["gates"]] == ["healthy", "healthy"]
    switch = next(r for r in robot.journal() if r["release"] == two and (r["stage"], r["phase"]) == ("SWITCH", "done"))
    cut = ticks.cutover(robot.records(), switch["detail"]["monotonic_ns"] / 1e9)
    assert cut.max_gap_ms < 2000

    robot.agent("stage", bad)
    caught = robot.agent("switch", bad, "--gate", "moving", check_code=False)
    assert caught["exit_code"] == 1 and caught["failure"]["metric"] == "clamped_rate", caught
    status = robot.agent("status")
    assert status["healthy"] and status["running"]["digest"] == two and status["quarantined"] == [bad]

    away = published.folder.with_name("registry-away")
    published.folder.rename(away)
    try:
        back = robot.agent("rollback")
    finally:
        away.rename(published.folder)
    assert (back["release"], back["bytes_fetched"], back["engines_built"]) == (one, 0, 0)
    status = robot.agent("status")
    assert status["healthy"] and status["running"]["digest"] == status["current"]["digest"] == one
