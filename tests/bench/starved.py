"""The longest silence on `/cmd_vel` while other programs use up the processor.

Three clients of each socket ask 20 times a second.

The others are 16 busy loops: first at nice -20, then in a group of the kernel with twenty times the weight. The clients
ask for `status` on both sockets, and every second round for `reset` on the operator's. Baseline, in the same run: the
same supervisor with its sockets thread at an ordinary priority, where it holds the interpreter's lock and is not run.
`quiet_gap_ms` is without loops and clients: what the machine does to a robot that nobody disturbs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from model_registry.core import lines
from model_registry.core.errors import HomeportError, RefusedError
from tests.bench.harness import FULL, TICK_PRIORITY, Trials, real_time
from tests.testbed import busy
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot, Repeat

BUSY_LOOPS = 16
CLIENTS = 3
RATE_HZ = 20.0
SECONDS = 20.0 if FULL else 6.0
ROUNDS = 4 if FULL else 2
ANSWER_S = 2.0
BESIDE_THE_TICK = TICK_PRIORITY - 1
OTHERS: dict[str, Callable[[int], AbstractContextManager[None]]] = {"nice": busy.nice, "group": busy.heavy_group}


class Client:
    """Asks one socket for one thing at a rate; counts what it asked and what was answered, also with a refusal."""

    def __init__(self, path: Path, verb: str) -> None:
        self.asked = self.answered = 0
        self._path, self._line = path, lines.request(verb)
        self.repeat = Repeat(RATE_HZ, self._ask)

    def _ask(self) -> None:
        self.asked += 1
        try:
            lines.call(self._path, self._line, ANSWER_S)
        except RefusedError:
            self.answered += 1
        except HomeportError as error:
            print(f"starved: {error}", file=sys.stderr, flush=True)
        else:
            self.answered += 1


@contextmanager
def clients(robot: PlayedRobot, verb: str) -> Iterator[list[Client]]:
    """Three on each socket; those of the operator's ask for `verb`."""
    layout = robot.layout
    asking = [Client(layout.control_socket, "status") for _ in range(CLIENTS)]
    asking += [Client(layout.operator_socket, verb) for _ in range(CLIENTS)]
    try:
        for client in asking:
            client.repeat.start()
        yield asking
    finally:
        for client in asking:
            client.repeat.stop()


def name_of(thread: Path) -> str:
    """What `top -H` shows for a thread, by its folder in /proc; empty when it has ended meanwhile."""
    try:
        return (thread / "comm").read_text().strip()
    except OSError:
        return ""


def lower_sockets(pid: int, lowered: bool) -> None:
    """Put a supervisor's sockets thread at an ordinary priority, as it was before, or back where it puts itself."""
    threads = [path for path in Path(f"/proc/{pid}/task").iterdir() if name_of(path) == "sockets"]
    assert len(threads) == 1, "the supervisor has no thread of that name"
    policy, priority = (os.SCHED_OTHER, 0) if lowered else (os.SCHED_FIFO, BESIDE_THE_TICK)
    os.sched_setscheduler(int(threads[0].name), policy, os.sched_param(priority))


def gap_ms(heard: Listening, since_s: float, until_s: float) -> float:
    """The longest time without a command between two moments, of which each counts as one."""
    times = [r["t"] for r in heard.read() if r["k"] == "cmd" and since_s < r["t"] < until_s]
    return max(b - a for a, b in pairwise([since_s, *times, until_s])) * 1e3


def disturbed(
    robot: PlayedRobot, heard: Listening, others: AbstractContextManager[None], verb: str, lowered: bool
) -> dict[str, Any]:
    """One round: the longest silence, and how many requests were answered."""
    if robot.supervisor.child.poll() is not None:
        robot.start_supervisor()  # its watchdog has ended it
    lower_sockets(robot.supervisor.pid, lowered)
    with others, clients(robot, verb) as asking:
        threading.Event().wait(0.5)
        heard.forget()
        since_s = time.monotonic()
        threading.Event().wait(SECONDS)
        until_s = time.monotonic()
    with suppress(OSError):  # it may have been ended by its watchdog
        lower_sockets(robot.supervisor.pid, lowered=False)
    return {
        "gap_ms": gap_ms(heard, since_s, until_s),
        "asked": sum(client.asked for client in asking),
        "answered": sum(client.answered for client in asking),
    }


def quiet(robot: PlayedRobot, heard: Listening) -> float:
    """The longest silence of a robot that nobody disturbs (ms)."""
    heard.forget()
    since_s = time.monotonic()
    threading.Event().wait(SECONDS)
    return gap_ms(heard, since_s, time.monotonic())


def rounds(trials: Trials, robot: PlayedRobot, heard: Listening, lowered: bool) -> dict[str, list[dict[str, Any]]]:
    """By kind of load: what each round gave; nothing for a load that this machine does not let us make."""
    found = {}
    for name, load in OTHERS.items():

        def one(number: int, load: Callable[[int], AbstractContextManager[None]] = load) -> dict[str, Any]:
            return disturbed(robot, heard, load(BUSY_LOOPS), ("status", "reset")[number % 2], lowered)

        try:
            found[name] = trials.run(f"{name}{'_lowered' * lowered}", ROUNDS, one)
        except busy.CannotOutweighError as error:
            print(f"starved: no {name}: {error}", file=sys.stderr, flush=True)
            found[name] = []
    return found


def worst_ms(found: list[dict[str, Any]]) -> float | None:
    return round(max(each["gap_ms"] for each in found), 1) if found else None


def main() -> int:
    real_time()
    trials = Trials("starved")
    with (
        tempfile.TemporaryDirectory() as name,
        trials.noise(),
        PlayedRobot(Path(name)) as robot,
        Listening(robot) as heard,
    ):
        robot.drive()
        undisturbed = trials.run("quiet", ROUNDS, lambda _: quiet(robot, heard))
        found = rounds(trials, robot, heard, lowered=False)
        lowered = rounds(trials, robot, heard, lowered=True)
    every = [each for part in found.values() for each in part]
    figures = {
        "busy_loops": BUSY_LOOPS,
        "clients": CLIENTS,
        "max_gap_ms": worst_ms(every),
        "baseline_gap_ms": worst_ms([each for part in lowered.values() for each in part]),
        **{f"{name}_gap_ms": worst_ms(part) for name, part in found.items()},
        "asked": sum(each["asked"] for each in every),
        "answered": sum(each["answered"] for each in every),
    }
    baselines = {
        "quiet_gap_ms": round(max(undisturbed), 1),
        **{f"{name}_lowered_gap_ms": worst_ms(part) for name, part in lowered.items()},
    }
    trials.report({"starved": figures}, {"starved": baselines})
    return 0


if __name__ == "__main__":
    sys.exit(main())
