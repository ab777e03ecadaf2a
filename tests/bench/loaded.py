"""How often a slot falls silent beside busy loops, with and without its share of the processor.

A real policy drives a played robot while 4 and 16 busy loops run at the usual priority (FULL=1: 2 to 32). A silence is
a time of more than 0.1 s without an action of the slot, as an independent listener in real time hears it: each would
stop the robot. The share is what the role `device` gives a slot: nice -5, and a group of the kernel with four times the
weight of the group that the loops have. The slot has no real time in either case, as on a robot; the supervisor has.
Baseline, in turn with it: the slot at the usual priority beside the loops, without groups, as systemd has it where no
unit asks for a weight. `quiet_silences` is without loops.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path

from tests.bench.harness import FULL, Trials, real_time
from tests.testbed import busy
from tests.testbed.faults import MODEL
from tests.testbed.injection import settle_policy
from tests.testbed.listening import WRITTEN_S, Listening
from tests.testbed.played import ROBOT, PlayedRobot

BODY = ROBOT.replace("diff_drive", "mobile_base")
LOOPS = (2, 4, 8, 16, 32) if FULL else (4, 16)
SECONDS = 20.0 if FULL else 6.0
ROUNDS = 3 if FULL else 2
SILENCE_S = 0.1
NICE, WEIGHT = -5, 4
Load = Callable[[int], AbstractContextManager[None]]
# Root may always ask for real time; a slot on a robot may not.
_AS_ON_A_ROBOT = ("/usr/bin/setpriv", "--bounding-set=-sys_nice")


def silences(heard: Listening, load: AbstractContextManager[None]) -> int:
    """How often slot a was silent beside a load."""
    with load:
        threading.Event().wait(0.5)
        heard.forget()
        since_s = time.monotonic()
        threading.Event().wait(SECONDS)
        until_s = time.monotonic()
    threading.Event().wait(WRITTEN_S)
    times = [r["t"] for r in heard.read() if r["k"] == "action" and r["slot"] == "a" and since_s < r["t"] < until_s]
    return sum(b - a > SILENCE_S for a, b in pairwise([since_s, *times, until_s]))


@contextmanager
def share(robot: PlayedRobot) -> Iterator[Load]:
    """Give slot a its share; on a machine that has no groups only its nice value. Yields the load to put beside it."""
    pid = robot.programs["a"].pid
    nice(pid, NICE)
    with ExitStack() as stack:
        load: Load = partial(busy.heavy_group, times=1)
        try:
            members = stack.enter_context(busy.weighted("slot", WEIGHT))
        except busy.CannotOutweighError as error:
            print(f"loaded: no weight: {error}", file=sys.stderr, flush=True)
            load = busy.plain
        else:
            members.write_text(str(pid))
            outside = members.parent.parent / members.name
            stack.callback(outside.write_text, str(pid))
        yield load
    nice(pid, 0)


def nice(pid: int, value: int) -> None:
    """Give every thread of a process a nice value."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), value)


def rounds(trials: Trials, robot: PlayedRobot, heard: Listening, loops: int) -> tuple[int, int]:
    """The silences of all rounds beside so many loops: without the share and with it, in turn."""

    def without(_: int) -> int:
        settle_policy(robot)
        return silences(heard, busy.plain(loops))

    def shared(_: int) -> int:
        with share(robot) as others:
            settle_policy(robot)
            return silences(heard, others(loops))

    for number in range(1, ROUNDS + 1):
        trials.run(f"without_{loops}", number, without)
        trials.run(f"with_{loops}", number, shared)
    return sum(trials.kept(f"without_{loops}")), sum(trials.kept(f"with_{loops}"))


def borne(found: dict[int, int]) -> int:
    """The most busy loops up to which no slot fell silent; 0 for none."""
    most = 0
    for loops, count in found.items():
        if count:
            break
        most = loops
    return most


def main() -> int:
    real_time()
    trials = Trials("loaded")
    with (
        tempfile.TemporaryDirectory() as name,
        trials.noise(),
        PlayedRobot(Path(name), BODY, slots="", model=MODEL) as robot,
        Listening(robot) as heard,
    ):
        robot.start_policy(*_AS_ON_A_ROBOT)
        settle_policy(robot)
        quiet = sum(trials.run("quiet", ROUNDS, lambda _: silences(heard, nullcontext())))
        found = {loops: rounds(trials, robot, heard, loops) for loops in LOOPS}
    without, shared = ({loops: each[index] for loops, each in found.items()} for index in (0, 1))
    figures = {
        "busy_loops": LOOPS[-1],
        "seconds": ROUNDS * SECONDS,
        "silences_without": without[LOOPS[-1]],
        "silences_with": shared[LOOPS[-1]],
        "loops_borne_without": borne(without),
        "loops_borne_with": borne(shared),
    }
    baselines = {"quiet_silences": quiet, **{f"without_{loops}": count for loops, count in without.items()}}
    trials.report({"loaded": figures}, {"loaded": baselines})
    return 0


if __name__ == "__main__":
    sys.exit(main())
