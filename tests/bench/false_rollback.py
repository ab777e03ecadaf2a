"""How often the gate takes back a good release.

Traces of good releases are recorded from a real robot (policy, supervisor, agent), bent by what robots do (slow start, load, jitter, late status, sensors
that were broken before, heat, a cold cache), and judged by the agent's own code. Then a real robot is switched for real under a CPU hog, with a cold page
cache, and with a slow camera. Baselines, on the same traces: a gate that asks once after five seconds, and one that takes 60 ms of silence for a stall.
The seed is printed; SEED=… replays it. The gate's configuration is that of `bad_release`, and its digest is in both.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from tests.bench.harness import FULL, noise, report
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
from tests.testbed.trials import Switch, cpu_hog, driving, forget, slow_camera

TRACES = 1000
RECORDED = 4 if FULL else 2
LIVE = 30 if FULL else 3
VERSIONS = ("1.0.0", "1.1.0")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def other(robot: Robot, published: Published) -> str:
    """The release that does not drive."""
    current = robot.agent("status", check_code=False)["current"]["digest"]
    return next(digest for digest in published.releases.values() if digest != current)


def bend_all(traces: list[Trace], seed: int) -> dict[str, Any]:
    """Judge every trace as recorded, and `TRACES` bent ones."""
    false: Counter[str] = Counter()
    once = silent = 0
    for number in range(TRACES):
        names, trace = bent(traces[number % len(traces)], seed + number)
        result = judged(trace).result
        if not result.passed:
            false[names] += 1
            say(f"trace {number} (seed {seed + number}, {names}): {result.verdict}, {result.checks[0]}")
        once += not asked_once(trace)
        silent += not never_silent(trace)
    return {"false": sum(false.values()), "asked_once_false": once, "stall_60ms_false": silent}


def condition(robot: Robot, number: int) -> tuple[str, AbstractContextManager[object]]:
    """What a trial is made hard with, in turn."""
    name = ("cpu hog", "cold cache", "slow camera")[number % 3]
    if name == "cpu hog":
        return name, cpu_hog()
    if name == "slow camera":
        return name, slow_camera(robot)
    forget([robot.root / part for part in ("releases", "models", "engines")])
    return name, nullcontext()


def live(robot: Robot, published: Published) -> list[str]:
    """Switch again and again; the failures."""
    failures = []
    for number in range(LIVE):
        name, hard = condition(robot, number)
        with hard:
            answer = Switch(robot, switch_arguments(other(robot, published))).end(180.0)
        if answer["exit_code"]:
            failures.append(f"{name}: {answer['error']}")
        say(f"live {number + 1} of {LIVE}, {name}: {failures[-1] if answer['exit_code'] else 'committed'}")
    return failures


def main() -> int:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed {seed}; gate configuration {configuration_digest()}")
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    try:
        with noise() as quiet:
            published = publish(scratch, scratch / "keys", VERSIONS, demanding)
            with driving(scratch, published, published.releases["1.0.0"]) as robot:
                traces = [record(robot, other(robot, published)) for _ in range(RECORDED)]
                failures = live(robot, published)
        for trace in traces:
            assert judged(trace).result.passed, judged(trace).result
        found = bend_all(traces, seed)
    finally:
        shutil.rmtree(scratch)
    figures = {
        **{"traces": TRACES, "live": LIVE, "false": found.pop("false") + len(failures), "live_false": len(failures)},
        **{"recorded": RECORDED, "probation_s": PROBATION_S, "seed": seed, "gate": configuration_digest()},
    }
    report("false_rollback", {"false_rollback": figures}, {"false_rollback": found}, quiet)
    return 1 if figures["false"] else 0


if __name__ == "__main__":
    sys.exit(main())
