"""Ways back on a simulated robot that drives, with real policies and real topics, and with the registry gone.

Hot: while a release is on probation, from the request at the agent's socket to the first command of the old release at an independent listener.
Warm: after COMMIT, `homeport-agent rollback` again and again, from the command to a verified release. Baseline: stopping the policy process and
starting the earlier one, as a container restart does it, is measured by `cutover`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from model_registry.core import lines
from tests.bench.cutover import prepare, switch
from tests.bench.harness import FULL, noise, percentile, real_time, report
from tests.testbed import ticks
from tests.testbed.fleet import Fleet, Robot
from tests.testbed.registry import Published, publish

HOT = 20 if FULL else 3
WARM = 100 if FULL else 5
AFTER_S = 1.3
HOT_LIMIT_MS = 100.0 + ticks.PERIOD_S * 1e3


def hot(robot: Robot, old: str, new: str) -> tuple[ticks.Cutover, float]:
    """One release on probation, rolled back by request: what was heard around it, and milliseconds until the old one was heard."""
    robot.agent("switch", new, "--commit", "wait", "--gate", "moving", "--probation", "1", "--deadline", "60")
    threading.Event().wait(AFTER_S)
    sent_s = time.monotonic()
    lines.call(robot.layout.agent_socket, lines.request("rollback", to="previous", gate="moving", now=False), 60.0)
    threading.Event().wait(AFTER_S)
    cut = ticks.cutover(robot.records(), sent_s)
    heard = zip(cut.times_s, cut.releases, strict=True)
    return cut, 1e3 * next(at_s for at_s, release in heard if at_s > 0.0 and release == old[7:19])


def warm(robot: Robot, wanted: str) -> tuple[float, bool]:
    """One rollback after a commit: seconds, and whether a live process says that it runs what was asked for, fetched from nowhere."""
    began = time.monotonic()
    result = robot.agent("rollback", "--gate", "moving", check_code=False)
    seconds = time.monotonic() - began
    running = robot.agent("status", check_code=False)["running"]
    well = result["exit_code"] == 0 and running is not None and running["digest"] == wanted
    return seconds, well and result["bytes_fetched"] == result["engines_built"] == 0


def measured(robot: Robot, published: Published) -> dict[str, object]:
    old, new = (published.releases[version] for version in ("1.0.0", "1.1.0"))
    published.folder.rename(published.folder.with_name("unplugged"))
    cuts = [hot(robot, old, new) for _ in range(HOT)]
    switch(robot, new)
    ways = []
    for index in range(WARM):
        ways.append(warm(robot, (old, new)[index % 2]))
        print(f"rollback {index + 1} of {WARM}: {ways[-1][0]:.2f} s", file=sys.stderr, flush=True)
    seconds = [each for each, _ in ways]
    return {
        "hot_runs": len(cuts),
        "hot_runs_while_moving": sum(cut.moving for cut, _ in cuts),
        "hot_missed_ticks": sum(cut.missed_ticks for cut, _ in cuts),
        "hot_max_ms": round(max(late for _, late in cuts), 1),
        "hot_later_than_allowed": sum(late > HOT_LIMIT_MS for _, late in cuts),
        "warm_p50_s": round(percentile(seconds, 0.5), 2),
        "warm_p95_s": round(percentile(seconds, 0.95), 2),
        "warm_max_s": round(max(seconds), 2),
        "runs": len(ways),
        "ok": sum(well for _, well in ways),
    }


def main() -> int:
    real_time()
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    (scratch / "fleet").mkdir()
    with noise() as quiet:
        try:
            published = publish(scratch, scratch / "keys", ("1.0.0", "1.1.0"))
            with Fleet(scratch / "fleet", ("alder",)) as fleet:
                robot = prepare(fleet, published, scratch)
                figures = measured(robot, published)
        finally:
            shutil.rmtree(scratch)
    report("rollback", {"rollback": figures}, {}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
