"""A real robot whose agent is killed at every record of staging, switch and rollback: real supervisor, real policies,
and each time it goes on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.robot import remove_run_folder
from tests.fakes.ros import wait_until
from tests.integration.test_agent import install
from tests.testbed.fleet import Robot
from tests.testbed.registry import Published

STAGED = ("FETCH:intent", "STAGE:intent", "BUILD:intent", "PROVE:done")
SWITCHED = ("WAIT:intent", "SWITCH:done", "PROBATION:intent", "COMMIT:intent", "COMMIT:done")
BACK = ("WAIT:intent", "SWITCH:done", "VERIFY_ROLLBACK:done", "COMMIT:intent")


@pytest.fixture
def robot(tmp_path: Path, published: Published) -> Iterator[Robot]:
    robot = Robot("alder", tmp_path, seed=11)
    try:
        install(robot, published)
        toml = robot.layout.agent_toml
        toml.write_text(toml.read_text().replace("probation_s = 4.0", "probation_s = 1.0\nshadow_s = 0.5"))
        robot.power_on()
        yield robot
    finally:
        robot.power_off()
        remove_run_folder(robot.root)


def records(robot: Robot) -> list[dict[str, Any]]:
    """The whole lines of the journal, read while it is written."""
    return [json.loads(line) for line in robot.layout.journal.read_bytes().split(b"\n")[:-1]]


def kill_at(robot: Robot, edge: str, *arguments: str) -> bool:
    """Kill the agent once a verb has written this record; whether it came to that."""
    seen = len(robot.journal())
    process = robot.part("agent")
    client = subprocess.Popen(
        robot.agent_argv("--json", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60.0
    try:
        while time.monotonic() < deadline:
            ended = client.poll() is not None
            if edge in [f"{record['stage']}:{record['phase']}" for record in records(robot)[seen:]]:
                process.signal(signal.SIGKILL)
                process.wait(5.0)
                return True
            if ended:
                return False
            time.sleep(0.001)
        return False
    finally:
        client.kill()
        client.wait()


def well(robot: Robot) -> dict[str, Any]:
    """The status, once the restarted agent finds a live process that runs what `current` names."""
    robot.stop("agent")
    robot.start("agent", robot.agent_argv("serve"))
    wait_until(robot.answers, 20.0, "the agent answers")
    wait_until(lambda: robot.agent("status", check_code=False).get("healthy") is True, 30.0, "the robot is well")
    return robot.agent("status")


@pytest.mark.timeout(300)
def test_the_agent_is_killed_at_every_turn_and_the_robot_ends_on_the_old_release_or_the_new_one(
    robot: Robot, published: Published
) -> None:
    one, two = (published.releases[version] for version in ("1.0.0", "1.1.0"))
    robot.agent("stage", one)
    robot.agent("switch", one)
    points = 0

    def play(edges: tuple[str, ...], before: str, after: str, *arguments: str) -> None:
        nonlocal points
        for edge in edges:
            assert kill_at(robot, edge, *arguments), f"{arguments[0]} never came to {edge}"
            points += 1
            status = well(robot)
            allowed = {after} if edge == "COMMIT:done" else {before, after} if edge == "COMMIT:intent" else {before}
            assert status["running"]["digest"] == status["current"]["digest"] in allowed, (edge, status)
            last = robot.journal()[-1]
            assert (last["stage"], last["phase"]) in (("FAILED", "done"), ("COMMIT", "done"), ("READY", "done")), last
            if status["current"]["digest"] == after != before:
                return

    play(STAGED, one, one, "stage", two)
    assert robot.agent("stage", two)["stage"] == "READY"
    play(SWITCHED, one, two, "switch", two)
    if robot.agent("status")["current"]["digest"] == one:
        robot.agent("switch", two)
    play(BACK, two, one, "rollback")
    assert points >= 12
