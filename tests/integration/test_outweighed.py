"""Nobody who takes the processor makes a real supervisor late.

These tests make the whole machine busy, so nothing runs beside them.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from model_registry.core import lines
from model_registry.core.errors import RefusedError
from stack.supervisor.priority import BESIDE, TICK
from tests.fakes.ros import wait_until
from tests.testbed import busy
from tests.testbed.played import PlayedRobot, Repeat

OF_PYTHON = ("tick", "sockets", "executor", "log")


@pytest.fixture
def robot(tmp_path):
    with PlayedRobot(tmp_path) as robot:
        yield robot


def priorities(pid: int) -> dict[str, tuple[int, int]]:
    """Policy and priority of the threads that Python made."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name in OF_PYTHON or int(task.name) == pid:
            thread = int(task.name)
            found[name] = (os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority)
    return found


def test_no_thread_that_takes_the_interpreters_lock_has_an_ordinary_priority(robot):
    if robot.status["ticks"]["scheduler"] != "fifo":
        pytest.skip("real-time scheduling is not permitted here")
    found = priorities(robot.supervisor.pid)
    assert found.pop("tick") == (os.SCHED_FIFO, TICK)
    assert set(found) > {"sockets", "executor", "log"} and set(found.values()) == {(os.SCHED_FIFO, BESIDE)}


@contextmanager
def urgent():
    """All threads of this process come before busy loops: they play the robot, and end the loops."""
    schedule(os.SCHED_FIFO, 1)
    try:
        yield
    finally:
        schedule(os.SCHED_OTHER, 0)


def schedule(policy: int, priority: int) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))


@pytest.mark.parametrize("load", [busy.nice, busy.heavy_group], ids=["nice", "group"])
def test_who_asks_it_on_a_busy_machine_does_not_make_it_skip_ticks(robot, load):
    if robot.status["ticks"]["scheduler"] != "fifo":
        pytest.skip("real-time scheduling is not permitted here")
    answered, layout = [], robot.layout

    def ask(path: Path, verb: str) -> None:
        with suppress(RefusedError):
            lines.call(path, lines.request(verb), 2.0)
        answered.append(verb)

    def client(path: Path, verb: str) -> Repeat:
        return Repeat(20, lambda: ask(path, verb))

    clients = [client(layout.control_socket, "status") for _ in range(3)]
    clients += [client(layout.operator_socket, verb) for verb in ("status", "reset") for _ in range(3)]
    before = robot.status["ticks"]
    try:
        with urgent(), load(16):
            for each in clients:
                each.start()
            wait_until(lambda: robot.status["ticks"]["count"] > before["count"] + 200, 10.0, "200 ticks")
            for each in clients:
                each.stop()
    except busy.CannotOutweighError as error:
        pytest.skip(str(error))
    after = robot.status
    assert len(answered) > 100
    assert after["ticks"]["missed"] - before["missed"] < 10 and "overrun" not in after["reasons"], after["ticks"]
