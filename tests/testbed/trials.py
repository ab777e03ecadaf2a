"""Robots on which good and bad releases are tried.

Published with one recipe, brought to drive, and what the agent's journal says of a trial.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.ros import wait_until
from tests.testbed.fleet import Fleet, Robot
from tests.testbed.registry import Published, build_agent

COMMAND = "turn left"
MOVING_MPS = 0.05


@contextmanager
def driving(scratch: Path, published: Published, first: str, *body: str) -> Iterator[Robot]:
    """One robot with every release staged, on which `first` is committed and drives left turns.

    `body` are options of stack.sim.
    """
    (scratch / "fleet").mkdir()
    with Fleet(scratch / "fleet", ("alder",)) as fleet:
        fleet.write_inventory(published, build_agent(scratch / "homeport-agent"))
        done = fleet.playbook("bootstrap")
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        fleet.power_on(*body, respawn=False)
        robot = fleet.robots[0]
        for digest in published.releases.values():
            robot.agent("stage", digest)
        robot.agent("switch", first, "--commit", "auto", "--gate", "moving", "--probation", "1")
        drive(robot)
        yield robot


def drive(robot: Robot) -> None:
    """Give the command, arm, and wait until it moves."""
    robot.say(COMMAND)
    robot.wait_driving(MOVING_MPS)


def other(robot: Robot, published: Published) -> str:
    """The first release that is not committed now."""
    current = robot.agent("status", check_code=False)["current"]["digest"]
    return next(digest for digest in published.releases.values() if digest != current)


@contextmanager
def cpu_hog() -> Iterator[None]:
    """As many programs that only use the processor as there are cores."""
    argv = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(argv, stdin=subprocess.DEVNULL) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def forget(folders: Sequence[Path]) -> int:
    """Take the files below these folders out of the page cache, as after a boot; returns how many."""
    paths = {path.resolve() for folder in folders for path in folder.rglob("*") if path.is_file()}
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return len(paths)


def exchange_body(robot: Robot, *options: str) -> None:
    """Give the robot a body with other options of stack.sim, and wait until it drives again."""
    robot.stop("sim")
    robot.start_body(*options)
    robot.agent("reset", check_code=False)
    drive(robot)


class Switch(threading.Thread):
    """One `homeport-agent switch` under way; `answer` when it has ended."""

    def __init__(self, robot: Robot, arguments: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._robot, self._arguments = robot, arguments
        self._before = max((each["seq"] for each in robot.journal()), default=0)
        self.answer: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        self.answer.update(self._robot.agent(*self._arguments, check_code=False))

    def record(self, stage: str, phase: str = "intent") -> dict[str, Any] | None:
        """The journal's record of a stage of this switch."""
        new = [each for each in self._robot.journal() if each["seq"] > self._before]
        return next((each for each in new if (each["stage"], each["phase"]) == (stage, phase)), None)

    def wait_for(self, stage: str, deadline_s: float = 90.0) -> dict[str, Any]:
        """Wait until the journal announces a stage. Raises AssertionError when the switch ends before."""

        def found() -> dict[str, Any] | None:
            record = self.record(stage)
            assert record or self.is_alive(), f"ended before {stage}: {self.answer}"
            return record

        return dict(wait_until(found, deadline_s, stage))

    def end(self, deadline_s: float = 120.0) -> dict[str, Any]:
        """Wait for its answer."""
        self.join(deadline_s)
        assert not self.is_alive(), "the switch does not end"
        return self.answer


def candidate_pid(robot: Robot) -> int:
    """The process in the slot that `current` does not name."""
    other = "ab".replace(robot.layout.current.readlink().name, "")
    slot = robot.agent("status", check_code=False)["slots"][other]
    return int(slot["pid"])
