"""How soon the gate finds a bad release, with the configuration of `false_rollback` (its digest is in both).

Crash and stall: the process of the candidate is killed or frozen while it drives on probation; seconds until the
journal names the failure. Latency: a release that takes a fifth longer than the old one, from its switch on, and well
within its budget. Wrong numerics: an engine that misses its goldens, which never comes to drive. Baseline: how many of
them are found where only the process is looked at, as a restart policy does.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.harness import noise, report
from tests.fakes.tiny import make_null_model, make_tiny_model
from tests.testbed.fleet import Robot
from tests.testbed.registry import Published, homeport, publish, release
from tests.testbed.traces import configuration_digest, demanding, switch_arguments
from tests.testbed.trials import Switch, candidate_pid, driving

SLOW_MS, RISE = 40.0, 1.2
AT_MOST_S = {"crash": 15.0, "stall": 1.0, "latency": 60.0, "numerics": 60.0}


@dataclass(frozen=True)
class Caught:
    """`metric` is what the failure names, `seconds` how long that took, `drove` whether it ever did."""

    name: str
    metric: str
    seconds: float
    drove: bool
    back: bool

    @property
    def ok(self) -> bool:
        return self.back and self.seconds <= AT_MOST_S[self.name] and self.drove is (self.name != "numerics")


def null_recipe(milliseconds: float, limit: Callable[[str], str]) -> Callable[[str], str]:
    """A recipe whose backend takes so long and computes nothing.

    `limit` says how much slower than the last one it may be.
    """

    def change(text: str) -> str:
        text = limit(text).replace('backends = ["onnxruntime"]', 'backends = ["null"]')
        return text.replace("[config.overrides]\n", f"[config.overrides]\nnull_ms = {milliseconds}\n")

    return change


def add(scratch: Path, published: Published, model: Path, version: str, change: Callable[[str], str]) -> str:
    """Pack a model and release it."""
    homeport("model", "pack", str(model), "--source", published.source)
    counter = len(published.releases) + 1
    return release(scratch, published.source, published.key, published.wheel, version, counter, change=change)


def broken_while_it_drives(robot: Robot, name: str, digest: str, number: signal.Signals) -> Caught:
    """Kill or freeze the candidate two seconds after it began to drive."""
    switch = Switch(robot, switch_arguments(digest, 30.0))
    switch.wait_for("PROBATION")
    time.sleep(2.0)
    pid, at_s = candidate_pid(robot), time.monotonic()
    os.kill(pid, number)
    return caught(robot, name, switch, at_s)


def caught(robot: Robot, name: str, switch: Switch, since_s: float) -> Caught:
    """What the journal says of a switch that failed."""
    answer = switch.end(180.0)
    assert answer["exit_code"] == 1, f"{name}: {answer}"
    found = switch.record("ROLLBACK") or switch.record("FAILED", "done")
    assert found is not None
    status = robot.agent("status", check_code=False)
    back = (status["running"] or {}).get("digest") == status["current"]["digest"] and status["restore_failure"] is None
    drove = switch.record("SWITCH", "done") is not None
    return Caught(name, answer["failure"]["metric"], round(found["monotonic_ns"] / 1e9 - since_s, 3), drove, back)


def latency(robot: Robot, digest: str) -> Caught:
    switch = Switch(robot, switch_arguments(digest))
    return caught(robot, "latency", switch, switch.wait_for("PROBATION")["monotonic_ns"] / 1e9)


def numerics(robot: Robot, digest: str) -> Caught:
    """It fails while it is staged: the old release never notices."""
    began_s = time.monotonic()
    answer = robot.agent("stage", digest, check_code=False)
    status = robot.agent("status", check_code=False)
    back = status["running"] is not None and digest in status["quarantined"]
    assert answer["exit_code"] == 1, answer
    failure = answer["failure"]
    return Caught(
        "numerics", failure["metric"], round(time.monotonic() - began_s, 3), failure["stage"] != "PROVE", back
    )


def main() -> int:
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    cases: list[Caught] = []
    try:
        with noise() as quiet:
            published = publish(scratch, scratch / "keys", ("1.0.0", "1.1.0"), demanding)
            slow = {}
            for version, milliseconds, limit in (("2.0.0", SLOW_MS, str), ("2.1.0", SLOW_MS * RISE, demanding)):
                model = make_null_model(scratch / f"null-{version}", version=version)
                slow[version] = add(scratch, published, model, version, null_recipe(milliseconds, limit))
            wrong = add(
                scratch, published, make_tiny_model(scratch / "wrong", "3.0.0", wrong_by=0.5), "3.0.0", demanding
            )
            published.releases.update(slow)
            with driving(scratch, published, published.releases["1.0.0"]) as robot:
                good = published.releases["1.1.0"]
                for name, number in (("crash", signal.SIGKILL), ("stall", signal.SIGSTOP)):
                    cases.append(broken_while_it_drives(robot, name, good, number))
                    robot.agent("stage", good, "--retry")
                cases.append(numerics(robot, wrong))
                robot.agent("switch", slow["2.0.0"], "--commit", "auto", "--gate", "moving", "--probation", "1")
                cases.append(latency(robot, slow["2.1.0"]))
    finally:
        shutil.rmtree(scratch)
    for case in cases:
        print(f"{case.name:10} {case.metric:20} {case.seconds:7.3f} s {'ok' if case.ok else 'NOT OK'}", file=sys.stderr)
    figures = {
        **{"cases": len(cases), "caught": sum(case.ok for case in cases), "gate": configuration_digest()},
        **{f"{case.name}_s": case.seconds for case in cases},
    }
    baseline = {"caught_by_process_only": sum(case.metric == "process" for case in cases)}
    report("bad_release", {"bad_release": figures}, {"bad_release": baseline}, quiet)
    return 0 if all(case.ok for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
