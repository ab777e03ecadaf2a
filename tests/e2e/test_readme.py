"""README, "Put it on your robots", typed line by line: two robots without Docker, on Debian 12 and on Debian 13.

The commands are read from README.md itself. What its text asks a person to write, this writes. The tests are the steps
and run in this order.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ros import wait_until
from tests.testbed import readme
from tests.testbed.bench import containers, image
from tests.testbed.bench.plain import PlainBench, PlainRobot
from tests.testbed.bench.wheelhouse import wheelhouse
from tests.testbed.console import busy
from tests.testbed.engine import Engine

pytestmark = pytest.mark.timeout(900)  # the first of them makes robots and wheels

ROBOTS = {"bay-1": "bookworm", "bay-2": "trixie"}
COMMAND = "go to the red pillar"
DRIVING_MPS = 0.1
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
STEPS = {step.number: step.commands for step in readme.steps(readme.section("Put it on your robots"))}
EDIT, PACK, RELEASE, BOOTSTRAP, DEPLOY, ARM, STATUS, NEXT = 3, 4, 5, 6, 7, 8, 9, 10


class Story:
    """The person at the bench, who goes through the steps and keeps what was printed."""

    def __init__(self, bench: PlainBench) -> None:
        self.bench = bench
        self.releases: dict[str, str] = {}

    @property
    def fleet(self) -> Path:
        return self.bench.person.home / "fleet"

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """One command, which has to succeed."""
        done = self.try_out(command)
        assert done.returncode == 0, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
        )
        return done

    def try_out(self, command: str) -> subprocess.CompletedProcess[str]:
        """One command, whatever comes of it."""
        return self.bench.person.run(command)

    def step(self, number: int) -> list[subprocess.CompletedProcess[str]]:
        """All commands of a step of the README, as they are written there."""
        assert STEPS[number], f"step {number} of README.md has no command"
        return [self.type(command) for command in STEPS[number]]

    def release(self, version: str) -> None:
        """Step 5; the digest is the last line that is printed, as the README says."""
        [done] = self.step(RELEASE)
        digest = done.stdout.splitlines()[-1]
        assert DIGEST.fullmatch(digest), done.stdout
        self.releases[version] = digest

    def deploy(self, version: str) -> None:
        """Step 7 with a release's digest."""
        [command] = STEPS[DEPLOY]
        typed = command.replace("sha256:…", self.releases[version])
        assert typed != command
        self._change(typed, f"{typed} RETRY=1")

    def go_back(self, version: str) -> None:
        """Step 10; what is tried once more is named, so that who is there stays."""
        [command] = STEPS[NEXT]
        self._change(command, f"{command} TO={self.releases[version]}")

    def _change(self, command: str, again: str) -> None:
        """A command that changes releases; `again` where a busy machine made a control loop silent."""
        done = self.try_out(command)
        if done.returncode and busy(self.report()):
            done = self.try_out(again)
        assert done.returncode == 0, done.stdout[-6000:]

    def report(self) -> dict[str, Any]:
        """What the last playbook reported."""
        return dict(json.loads((self.bench.person.home / "report.json").read_text()))

    def edit(self, file: str, changes: dict[str, str]) -> None:
        """Change lines of a file in an editor: pattern → what stands there then."""
        path = self.fleet / file
        text = path.read_text()
        for pattern, line in changes.items():
            text, count = re.subn(rf"(?m)^{pattern}.*$", line, text)
            assert count == 1, f"{file} has {count} lines like {pattern}"
        path.write_text(text)

    def versions(self) -> dict[str, str]:
        """What really drives each robot, by its own agent."""
        return {robot.name: robot.agent("status", check_code=False)["running"]["version"] for robot in self.robots}

    @property
    def robots(self) -> list[PlainRobot]:
        return list(self.bench.robots.values())


@pytest.fixture(scope="module")
def story(engine: Engine) -> Iterator[Story]:
    """Robots as they come, and somebody who has read the README."""
    bench = PlainBench("homeport-readme", engine, print)
    try:
        bench.up(ROBOTS)
        yield Story(bench)
    finally:
        bench.down()


def test_steps_1_to_3_make_programs_and_an_inventory(story: Story) -> None:
    for number in range(1, EDIT):
        story.step(number)

    hosts = "".join(
        f"    {robot.name}: {{homeport_site: bay, homeport_domain_id: {robot.domain}}}\n" for robot in story.robots
    )
    (story.fleet / "hosts.yml").write_text(f"robots:\n  hosts:\n{hosts}")
    own = {
        "homeport_source:": f"homeport_source: oci:{story.bench.registry}",
        "  linear:": "  linear: 0.5",  # release 1.1.0 drives faster than the example allows
        "  angular:": "  angular: 1.0",
    }
    story.edit("group_vars/robots.yml", own)
    with (story.fleet / "group_vars" / "robots.yml").open("a") as file:
        file.write(f"""
homeport_wheelhouse: {wheelhouse(tuple(image.PYTHONS.values()))}
# A container may not change its kernel, and nobody stands in the simulated room.
homeport_sysctl: false
homeport_gate: moving
homeport_probation_s: 2
homeport_report: {story.bench.person.home}/report.json
""")


def test_steps_4_and_5_publish_a_release(story: Story) -> None:
    story.step(PACK)
    story.release("1.0.0")


def test_step_6_prepares_the_robots(story: Story) -> None:
    story.step(BOOTSTRAP)

    for robot in story.robots:
        assert robot.run("systemctl", "show", "--property=MainPID", "--value", "homeport-supervisor").strip() != "0"
        for unit in ("homeport-agent", "homeport-supervisor", "homeport-monitor"):
            assert robot.run("systemctl", "is-active", unit).strip() == "active", robot.name
            assert robot.run("systemctl", "is-enabled", unit).strip() == "enabled", robot.name


def test_a_second_bootstrap_changes_nothing(story: Story) -> None:
    [done] = story.step(BOOTSTRAP)

    changes = re.findall(r"(?m)^(\S+) +: .*changed=(\d+)", done.stdout)
    assert changes == [(name, "0") for name in sorted(ROBOTS)], done.stdout[-2000:]


def test_steps_7_and_8_make_it_drive_and_nothing_moves_before(story: Story) -> None:
    for robot in story.robots:
        robot.give_driver()
    story.deploy("1.0.0")
    for robot in story.robots:
        robot.say(COMMAND)
        assert not any(robot.speeds()), f"{robot.name} moves, and nobody has armed it"
    [command] = STEPS[ARM]
    for robot in story.robots:
        story.type(command.replace("bay-1", robot.name))

    assert "bay-1" in command
    for robot in story.robots:
        robot.wait_driving(DRIVING_MPS)


def test_step_9_shows_what_runs(story: Story) -> None:
    [done] = story.step(STATUS)

    for name in ROBOTS:
        assert re.search(rf"{name} .*1\.0\.0", done.stdout), done.stdout[-3000:]


def test_a_second_release_drives_and_step_10_goes_back(story: Story) -> None:
    story.edit(
        "release.toml",
        {"version =": 'version = "1.1.0"', "counter =": "counter = 2", "ref =": 'ref = "homeport/pilot:1.1.0"'},
    )
    [pack] = STEPS[PACK]
    story.type(pack.replace("pilot-1.0.0", "pilot-1.1.0"))
    story.release("1.1.0")
    story.deploy("1.1.0")
    assert set(story.versions().values()) == {"1.1.0"}
    story.go_back("1.0.0")

    assert set(story.versions().values()) == {"1.0.0"}


def test_after_a_power_cut_the_committed_release_runs_and_stands_until_it_is_armed(story: Story) -> None:
    robot = story.bench.robots["bay-1"]
    story.bench.cut_power(robot)

    def running() -> str:
        return str((robot.agent("status", check_code=False)["running"] or {}).get("version"))

    wait_until(lambda: running() == "1.0.0", 60.0, "1.0.0 to run again")
    robot.say(COMMAND)
    assert not any(robot.speeds()), "nothing moves before an operator arms it again"
    robot.arm()
    robot.wait_driving(DRIVING_MPS)


def test_status_says_when_a_robot_is_not_healthy(story: Story) -> None:
    robot = story.bench.robots["bay-1"]
    [command] = STEPS[STATUS]
    robot.run("systemctl", "stop", "homeport-supervisor")
    try:
        fleet = story.try_out(command)
        alone = robot.agent("status", check_code=False)
    finally:
        robot.run("systemctl", "start", "homeport-supervisor")

    assert fleet.returncode != 0
    assert alone["exit_code"] == 3
    wait_until(robot.answers, 60.0, "the supervisor to answer again")


def test_nothing_is_left(story: Story, engine: Engine) -> None:
    story.bench.down()

    assert not containers.leftovers(engine.client, story.bench.name)
    assert not story.bench.person.home.exists()
