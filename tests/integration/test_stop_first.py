"""A real robot whose memory does not hold two policies: one ends before the other starts, and the supervisor holds the
robot until one drives.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

from model_registry.core.digest import Digest
from model_registry.core.layout import SLOTS
from stack.agent.change.cutover import measured_peak
from stack.agent.machine.processes import recall
from stack.agent.supervisor import OWNER, SupervisorClient
from tests.fakes.robot import remove_run_folder
from tests.integration.test_agent import install
from tests.integration.test_interruptions import well
from tests.testbed.fleet import Robot
from tests.testbed.registry import Published

Seen = tuple[bool, frozenset[str], str | None]
"""Held, the slots with a live process, and the release that the supervisor lets drive."""


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory, published: Published) -> Iterator[Robot]:
    """1.0.0 drives, 1.1.0 is staged, and `memory_mib` has room for the larger of the two alone."""
    robot = Robot("birch", tmp_path_factory.mktemp("robots"), seed=12)
    one, two = (published.releases[version] for version in ("1.0.0", "1.1.0"))
    try:
        install(robot, published)
        toml = robot.layout.agent_toml
        toml.write_text(toml.read_text().replace("probation_s = 4.0", "probation_s = 2.0\nshadow_s = 0.5"))
        robot.power_on()
        robot.agent("stage", one)
        robot.agent("switch", one)
        robot.agent("stage", two)
        peaks = [measured_peak(robot.layout, Digest.parse(release)) or 0 for release in (one, two)]
        assert min(peaks) > 16 << 20
        toml.write_text(f"memory_mib = {-(-max(peaks) >> 20)}\n{toml.read_text()}")
        well(robot)
        yield robot
    finally:
        robot.power_off()
        remove_run_folder(robot.root)


def see(robot: Robot, supervisor: SupervisorClient) -> Seen:
    """Processes first: what ended under hold is seen held, whatever happens between the two looks."""
    layout = robot.layout
    alive = frozenset(slot for slot in SLOTS if recall(layout.slot_process(slot)) is not None)
    view = supervisor.view()
    return OWNER in view.holders, alive, view.selected_release


def switch(robot: Robot, release: str, meanwhile: Callable[[], object]) -> tuple[dict[str, Any], list[Seen]]:
    """The result of a switch, and what was seen of the robot while it went on, each change once."""
    supervisor = SupervisorClient(robot.layout.control_socket, robot.layout.operator_socket)
    argv = robot.agent_argv("--json", "switch", release)
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seen: list[Seen] = [see(robot, supervisor)]
    deadline = time.monotonic() + 90.0
    try:
        while client.poll() is None:
            assert time.monotonic() < deadline, f"the switch does not end: {seen}"
            meanwhile()
            seen.append(see(robot, supervisor))
            time.sleep(0.005)
        seen.append(see(robot, supervisor))
        output, _ = client.communicate(timeout=10)
    finally:
        client.kill()
        client.wait()
    return json.loads(output)["result"], [each for each, _ in groupby(seen)]


def slots(robot: Robot) -> tuple[str, str]:
    """The slot that drives, and the other one."""
    free = {"a": "b", "b": "a"}
    driving = robot.layout.current.readlink().name
    return driving, free[driving]


def phases(seen: list[Seen]) -> list[tuple[bool, str]]:
    """Whether it was held, and the slot that lived, in order. Two that live at once are one too many for this robot."""
    assert all(len(alive) <= 1 for _, alive, _ in seen), seen
    return [each for each, _ in groupby((held, "".join(alive)) for held, alive, _ in seen)]


def other(robot: Robot, published: Published) -> tuple[str, str]:
    """The release that drives, and the one that it can be changed for."""
    one, two = (published.releases[version] for version in ("1.0.0", "1.1.0"))
    driving = robot.agent("status")["running"]["digest"]
    return driving, two if driving == one else one


@pytest.mark.timeout(180)
def test_the_old_release_ends_under_hold_before_the_new_one_starts_and_drives(
    robot: Robot, published: Published
) -> None:
    _, release = other(robot, published)
    old, new = slots(robot)

    result, seen = switch(robot, release, lambda: None)

    assert (result["stage"], result["cutover"]) == ("COMMIT", "stop-first"), result
    assert [gate["verdict"] for gate in result["gates"]] == ["healthy", "healthy"]
    assert phases(seen) == [(False, old), (True, old), (True, ""), (True, new), (False, new)]
    assert all(held for held, alive, selected in seen if selected != release and old not in alive), seen
    status = robot.agent("status")
    assert status["healthy"] and status["running"]["digest"] == status["current"]["digest"] == release
    assert status["slots"][new]["verified"] and slots(robot) == (new, old)


@pytest.mark.timeout(180)
def test_a_new_release_that_dies_makes_room_and_the_old_one_drives_again(robot: Robot, published: Published) -> None:
    driving, release = other(robot, published)
    old, new = slots(robot)
    killed: set[int] = set()

    def kill() -> None:
        process = recall(robot.layout.slot_process(new))
        if process is not None and process.pid not in killed:
            os.kill(process.pid, signal.SIGKILL)
            killed.add(process.pid)

    result, seen = switch(robot, release, kill)

    assert (result["stage"], result["cutover"]) == ("FAILED", "stop-first") and len(killed) == 1, result
    assert (result["failure"]["stage"], result["failure"]["metric"]) == ("WAIT", "process"), result["failure"]
    found = [phase for phase in phases(seen) if phase[1] != new]
    assert [each for each, _ in groupby(found)] == [(False, old), (True, old), (True, ""), (True, old), (False, old)]
    assert all(held for held, alive, _ in seen if old not in alive), seen
    status = robot.agent("status", check_code=False)
    assert status["healthy"] and status["running"]["digest"] == status["current"]["digest"] == driving
    assert status["slots"][old]["verified"] and status["restore_failure"] is None
    # What it would go back to has just failed here, and the status says so.
    assert status["exit_code"] == 3 and "failed here before" in status["way_back"]["reason"]
