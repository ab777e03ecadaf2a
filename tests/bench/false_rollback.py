"""How often the gate takes back a good release.

Traces of good releases are recorded from a real robot (policy, supervisor, agent), bent by what robots do (slow start,
load, jitter, late status, sensors that were broken before, heat, a cold cache), and judged by the agent's own code.
Then a real robot is switched for real under a CPU hog and with a cold page cache in turn, and with FULL=1 with a slow
camera. Its usual one sends 30 frames a second: the gate waits for a number of inferences. Baselines, on the same
traces: a gate that asks once after five seconds, and one that takes 60 ms of silence for a stall. The seed is printed;
SEED=… replays it. The gate's configuration is that of `bad_release`, and its digest is in both.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tests.bench.harness import FRESH, FULL, Trials
from tests.testbed.fleet import Robot
from tests.testbed.registry import Published, publish
from tests.testbed.traces import (
    PROBATION_S,
    Trace,
    asked_once,
    bent,
    configuration_digest,
    demanding,
    judged,
    never_silent,
    record,
    switch_arguments,
)
from tests.testbed.trials import Switch, cpu_hog, driving, exchange_body, forget, other

TRACES = 1000 if FULL else 200
RECORDED = 2 if FULL else 1
LIVE = 25 if FULL else 2
SLOW_CAMERA = 5 if FULL else 0
CAMERA_HZ, SLOW_HZ = 30.0, 4.0
VERSIONS = ("1.0.0", "1.1.0")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def bend_some(trace: Trace, seed: int, numbers: range) -> dict[str, int]:
    """Judge a trace as it was recorded, and bent by these numbers: how many a gate does not let through."""
    assert judged(trace).result.passed, judged(trace).result
    found = {"false": 0, "asked_once_false": 0, "stall_60ms_false": 0}
    for number in numbers:
        names, each = bent(trace, seed + number)
        result = judged(each).result
        if not result.passed:
            say(f"trace {number} (seed {seed + number}, {names}): {result.verdict}, {result.checks[0]}")
        found["false"] += not result.passed
        found["asked_once_false"] += not asked_once(each)
        found["stall_60ms_false"] += not never_silent(each)
    return found


def condition(robot: Robot, number: int) -> tuple[str, AbstractContextManager[object]]:
    """What a trial is made hard with, in turn."""
    if number % 2 == 0:
        return "cpu hog", cpu_hog()
    forget([robot.root / part for part in ("releases", "models", "engines")])
    return "cold cache", nullcontext()


def good(robot: Robot, published: Published, what: str, hard: AbstractContextManager[object]) -> str | None:
    """Switch to the other release; why that failed."""
    with hard:
        answer = Switch(robot, switch_arguments(other(robot, published))).end(180.0)
    failure = f"{what}: {answer['error']}" if answer["exit_code"] else None
    say(failure or f"{what}: committed after {answer['seconds']} s")
    return failure


def live(trials: Trials, robot: Robot, published: Published) -> list[str]:
    """Switch again and again; the failures."""
    ends = trials.run("live", LIVE, lambda number: good(robot, published, *condition(robot, number)))
    if trials.done("slow camera") < SLOW_CAMERA:
        exchange_body(robot, "--camera-hz", str(SLOW_HZ))
    ends += trials.run("slow camera", SLOW_CAMERA, lambda _: good(robot, published, "slow camera", nullcontext()))
    return [end for end in ends if end]


def main() -> int:
    trials = Trials("false_rollback", fresh=FRESH or "SEED" in os.environ)
    given = os.environ.get("SEED") or random.SystemRandom().randrange(10**6)
    seed = trials.run("seed", 1, lambda _: int(given))[0]
    say(f"seed {seed}; gate configuration {configuration_digest()}")
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    try:
        with trials.noise():
            published = publish(scratch, scratch / "keys", VERSIONS, demanding)
            with driving(scratch, published, published.releases["1.0.0"], "--camera-hz", str(CAMERA_HZ)) as robot:

                def bend(number: int) -> dict[str, int]:
                    trace = record(robot, other(robot, published))
                    return bend_some(trace, seed, range(number, TRACES, RECORDED))

                traces = trials.run("traces", RECORDED, bend)
                failures = live(trials, robot, published)
    finally:
        shutil.rmtree(scratch)
    found = {key: sum(each[key] for each in traces) for key in ("false", "asked_once_false", "stall_60ms_false")}
    counts = {"traces": TRACES, "live": LIVE + SLOW_CAMERA, "live_false": len(failures)}
    figures = {
        **{**counts, "false": found.pop("false") + len(failures)},
        **{"recorded": RECORDED, "probation_s": PROBATION_S, "seed": seed, "gate": configuration_digest()},
    }
    trials.report({"false_rollback": figures}, {"false_rollback": found})
    return 1 if figures["false"] else 0


if __name__ == "__main__":
    sys.exit(main())
