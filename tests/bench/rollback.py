"""Ways back on a simulated robot that drives, with real policies and real topics, and with the registry gone.

Hot: while a release is on probation, from the request at the agent's socket to the first command of the old release at
an independent listener. Warm: after COMMIT, `homeport-agent rollback` again and again, from the command to a verified
release. Baseline: stopping the policy process and starting the earlier one, as a container restart does it, is measured
by `cutover`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from model_registry.core import lines
from tests.bench.cutover import switch
from tests.bench.harness import FULL, Trials, percentile, real_time
from tests.fakes.ros import wait_until
from tests.testbed import ticks
from tests.testbed.fleet import Robot
from tests.testbed.registry import Published, publish
from tests.testbed.trials import driving, other

HOT = 20 if FULL else 2
WARM = 100 if FULL else 5
AFTER_S = 1.3
HOT_LIMIT_MS = 100.0 + ticks.PERIOD_S * 1e3


def hot(robot: Robot, old: str, new: str) -> dict[str, float]:
    """One release on probation, rolled back by request.

    What was heard around it, and milliseconds until the old one was heard.
    """
    robot.agent("switch", new, "--commit", "wait", "--gate", "moving", "--probation", "1", "--deadline", "60")
    threading.Event().wait(AFTER_S)
    sent_s = time.monotonic()
    lines.call(robot.layout.agent_socket, lines.request("rollback", to="previous", gate="moving", now=False), 60.0)
    threading.Event().wait(AFTER_S)
    cut = ticks.cutover(robot.records(), sent_s)
    heard = zip(cut.times_s, cut.releases, strict=True)
    late_ms = 1e3 * next(at_s for at_s, release in heard if at_s > 0.0 and release == old[7:19])
    return {"moving": cut.moving, "missed_ticks": cut.missed_ticks, "late_ms": late_ms}


def warm(robot: Robot, wanted: str, number: int) -> dict[str, float]:
    """One rollback after a commit: its seconds, and whether it fetched nothing.

    A live process must say that it runs what was asked for.
    """
    began = time.monotonic()
    result = robot.agent("rollback", "--gate", "moving", check_code=False)
    seconds = time.monotonic() - began
    running = robot.agent("status", check_code=False)["running"]
    well = result["exit_code"] == 0 and running is not None and running["digest"] == wanted
    print(f"rollback {number + 1} of {WARM}: {seconds:.2f} s", file=sys.stderr, flush=True)
    return {"seconds": seconds, "ok": well and result["bytes_fetched"] == result["engines_built"] == 0}


def measured(trials: Trials, robot: Robot, published: Published) -> dict[str, object]:
    old, new = (published.releases[version] for version in ("1.0.0", "1.1.0"))
    published.folder.rename(published.folder.with_name("unplugged"))
    wait_until(lambda: robot.speed() >= ticks.MOVING_MPS, 20.0, "the robot to move")
    cuts = trials.run("hot", HOT, lambda _: hot(robot, old, new))
    switch(robot, new)
    ways = trials.run("warm", WARM, lambda number: warm(robot, other(robot, published), number))
    seconds, late_ms = [each["seconds"] for each in ways], [each["late_ms"] for each in cuts]
    return {
        "hot_runs": len(cuts),
        "hot_runs_while_moving": sum(cut["moving"] for cut in cuts),
        "hot_missed_ticks": sum(cut["missed_ticks"] for cut in cuts),
        "hot_max_ms": round(max(late_ms), 1),
        "hot_later_than_allowed": sum(late > HOT_LIMIT_MS for late in late_ms),
        "warm_p50_s": round(percentile(seconds, 0.5), 2),
        "warm_p95_s": round(percentile(seconds, 0.95), 2),
        "warm_max_s": round(max(seconds), 2),
        "runs": len(ways),
        "ok": sum(each["ok"] for each in ways),
    }


def main() -> int:
    real_time()
    trials, scratch = Trials("rollback"), Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    try:
        with trials.noise():
            published = publish(scratch, scratch / "keys", ("1.0.0", "1.1.0"))
            with driving(scratch, published, published.releases["1.0.0"]) as robot:
                figures = measured(trials, robot, published)
    finally:
        shutil.rmtree(scratch)
    trials.report({"rollback": figures}, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
