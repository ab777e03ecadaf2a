"""Cutovers between two releases on a moving robot: missed ticks and the largest gap, as an independent listener hears them.

The robot drives left turns at 0.25 m/s; `homeport-agent switch` alternates between 1.0.0 and 1.1.0. Baseline: the same change by stopping the old
policy process and starting the new one, as a container restart does it, with the operator's reset and arm made at once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from tests.bench.harness import FULL, noise, report
from tests.fakes.ros import wait_until
from tests.testbed import ticks
from tests.testbed.fleet import Fleet, Robot, stop_slot
from tests.testbed.registry import Published, build_agent, publish

CUTOVERS = 100 if FULL else 8
BASELINES = 5 if FULL else 2
COMMAND = "turn left"


def prepare(fleet: Fleet, published: Published, scratch: Path) -> Robot:
    """One robot, both releases staged, 1.0.0 driving left turns."""
    fleet.write_inventory(published, build_agent(scratch / "homeport-agent"))
    done = fleet.playbook("bootstrap")
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    fleet.power_on(respawn=False)
    robot = fleet.robots[0]
    for digest in published.releases.values():
        robot.agent("stage", digest)
    switch(robot, published.releases["1.0.0"])
    robot.say(COMMAND)
    robot.arm()
    wait_until(lambda: robot.speed() >= ticks.MOVING_MPS, 20.0, "the robot to move")
    return robot


def switch(robot: Robot, digest: str) -> None:
    robot.agent("switch", digest, "--commit", "auto", "--gate", "moving", "--probation", "1")


def last_select_s(robot: Robot) -> float:
    """When the newest SWITCH took effect, monotonic seconds."""
    done = [r for r in robot.journal() if (r["stage"], r["phase"]) == ("SWITCH", "done")]
    return float(done[-1]["detail"]["monotonic_ns"]) / 1e9


def restart(robot: Robot) -> float:
    """The baseline: end the driving policy, start it again, arm as soon as that is possible; the gap in milliseconds."""
    before = time.monotonic()
    slot = robot.layout.current.readlink().name
    stop_slot(robot.layout, slot)
    robot.stop("slot")
    robot.start("slot", ["stack.policy", "--slot", slot, "--root", str(robot.root)])
    robot.arm(30.0)
    wait_until(lambda: robot.speed() >= ticks.MOVING_MPS, 20.0, "the robot to move again")
    times = [item[0] for item in ticks.live_commands(robot.records()) if item[0] > before - 0.5]
    return round(max(b - a for a, b in pairwise(times)) * 1000, 1)


def main() -> int:
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    (scratch / "fleet").mkdir()
    try:
        published = publish(scratch, scratch / "keys", ("1.0.0", "1.1.0"))
        with Fleet(scratch / "fleet", ("alder",)) as fleet, noise() as quiet:
            robot = prepare(fleet, published, scratch)
            cuts = []
            for index in range(CUTOVERS):
                switch(robot, published.releases["1.1.0" if index % 2 == 0 else "1.0.0"])
                cuts.append(ticks.cutover(robot.records(), last_select_s(robot)))
            gaps = [restart(robot) for _ in range(BASELINES)]
    finally:
        shutil.rmtree(scratch)
    figures = {
        "cutovers": len(cuts),
        "cutovers_while_moving": sum(cut.moving for cut in cuts),
        "missed_ticks": sum(cut.missed_ticks for cut in cuts),
        "max_gap_ms": max(cut.max_gap_ms for cut in cuts),
    }
    report("cutover", figures, {"restart_max_gap_ms": max(gaps), "restarts": len(gaps)}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
