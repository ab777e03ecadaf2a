"""Nobody makes a real supervisor large or dumb: not who does not read its log, who crowds its sockets, or who talks at
length. Who outweighs it is in test_outweighed.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from std_msgs.msg import String

from model_registry.core import lines
from tests.fakes.ros import Process, wait_until
from tests.fakes.unread import Unread
from tests.testbed.played import PlayedRobot, Repeat

CROWD = Path(__file__).parents[1] / "testbed" / "crowd.py"
LONG_TEXTS, LONG_TEXT = 40, "x" * 10_000_000
MOST_KEPT_BYTES = 12_000_000


@pytest.fixture
def robot(tmp_path):
    with PlayedRobot(tmp_path) as robot:
        yield robot


class UnreadProcess(Process):
    """Its standard output and error lead to a pipe that is full, and that nobody reads."""

    def __enter__(self) -> UnreadProcess:
        self.unread = Unread().__enter__()
        out = self.unread.writer
        self._child = subprocess.Popen(self.argv, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.unread.__exit__()


class UnreadRobot(PlayedRobot):
    """A robot with such a supervisor."""

    def start_supervisor(self) -> None:
        argv = ["stack.supervisor", "--root", str(self.layout.root)]
        self.supervisor = UnreadProcess(argv, self.environment, self.folder / "unused.log").__enter__()
        wait_until(self.try_status, 30.0, "the supervisor to answer")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_log_that_nobody_reads_keeps_nobody_from_driving_or_from_ending(tmp_path):
    with UnreadRobot(tmp_path) as robot:
        other = robot.slots["b"]
        robot.drive()
        other.stop()
        shouting = Repeat(50, lambda: other.publisher.publish(too_many_steps(other)))
        shouting.start()
        since_s = driven_for(5.0, robot)
        shouting.stop()
        assert robot.status["state"] == "RUN" and robot.speed == pytest.approx(0.3)
        assert len([at_s for at_s, _ in robot.cmd_vel if at_s > since_s]) > 200
        robot.supervisor.signal(signal.SIGTERM)
        assert robot.supervisor.wait(5.0) == 0
        assert robot.cmd_vel[-1][1].linear.x == 0.0


def driven_for(seconds, robot):
    """When it began to drive for so long; begun again where this machine was busy meanwhile."""
    for _ in range(3):
        robot.drive()
        since_s = time.monotonic()
        ended_s = since_s + seconds
        wait_until(lambda end=ended_s: time.monotonic() > end, seconds + 1.0, "seconds of malformed actions")
        if not robot.late_since(since_s):
            break
    return since_s


def too_many_steps(slot):
    message = slot.message()
    message.points *= 200
    return message


def test_a_malformed_action_at_every_tick_is_a_few_lines_and_a_number(robot):
    other = robot.slots["b"]
    other.stop()
    shouting = Repeat(50, lambda: other.publisher.publish(too_many_steps(other)))
    shouting.start()
    wait_until(lambda: "more like this" in robot.supervisor.text, 10.0, "the lines to be counted")
    shouting.stop()
    assert robot.supervisor.text.count("slot b") < 60


def test_the_middleware_writes_no_log_of_its_own(robot):
    folder = Path(robot.environment["ROS_LOG_DIR"])
    mine = f"_{robot.supervisor.pid}_"
    assert not [path for path in folder.glob("*") if mine in path.name]


def heard(robot, beginning):
    return robot.commands and json.loads(robot.commands[-1][1].data)["text"].startswith(beginning)


def test_texts_of_ten_megabytes_leave_nothing_behind(robot):
    robot.drive()
    pid = robot.supervisor.pid
    before = resident_bytes(pid)
    for number in range(LONG_TEXTS):
        robot.voice.publish(String(data=f"{number} {LONG_TEXT}"))
        wait_until(partial(heard, robot, f"{number} "), 5.0, f"text {number} to be heard")
    wait_until(lambda: resident_bytes(pid) < before + MOST_KEPT_BYTES, 5.0, "the memory to be given back")
    wait_until(lambda: not robot.status["blocking"], 15.0, "the robot to be healthy")
    robot.drive()


def test_an_operator_stops_a_robot_whose_socket_is_crowded(robot):
    robot.drive()
    kinds = ["poll"] * 8 + ["silent", "half", "reconnect", "knock"]
    path = str(robot.layout.operator_socket)
    programs = [
        subprocess.Popen([sys.executable, str(CROWD), kind, path], stdout=subprocess.PIPE, start_new_session=True)
        for kind in kinds
    ]
    try:
        for program in programs:
            assert program.stdout.readline() == b"here\n"
        assert lines.call(Path(path), lines.request("estop"), 2.0)["state"] == "LATCHED"
    finally:
        for program in programs:
            program.kill()
            program.communicate(timeout=5.0)
    assert robot.status["latched"] == ["estop"]
