"""Cutovers between two slots of a moving robot: missed ticks and the largest gap, as an independent listener hears them.

First with played slots, many times: half of them with a new slot that fails at a random moment of its probation. Then with real policies: the robot
drives left turns at 0.25 m/s, and `homeport-agent switch` alternates between 1.0.0 and 1.1.0. Baseline: the same change by stopping the old policy
process and starting the new one, as a container restart does it, with the operator's reset and arm made at once.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from tests.bench.harness import FULL, noise, real_time, report
from tests.fakes.ros import wait_until
from tests.testbed import ticks
from tests.testbed.fleet import Robot, stop_slot
from tests.testbed.listening import Listening
from tests.testbed.played import NEW, OLD, PlayedRobot
from tests.testbed.registry import publish
from tests.testbed.trials import driving

PLAYED = 100 if FULL else 10
CUTOVERS = 10 if FULL else 3
BASELINES = 3 if FULL else 1


FAILURES = (
    lambda slot: slot.stop(),
    lambda slot: vars(slot).update(value=[math.nan, 0.0]),
    lambda slot: vars(slot).update(stamp_offset_s=-2.0),
    lambda slot: vars(slot).update(speed=3.0),
)
# A slot that asks for too much is judged over 5 of its messages, every other failure by one.
BACK_MS = (120.0, 120.0, 120.0, 5 * 50.0 + 20.0)
SLOPE = 2.0 * 0.02  # of the played robot: m/s in one tick


def steepest(cut: ticks.Cutover) -> float:
    """The largest change of speed from one command to the next, m/s."""
    return max(abs(b - a) for a, b in pairwise(cut.speeds))


def played_cutovers(robot: PlayedRobot, heard: Listening) -> list[ticks.Cutover]:
    """Slot a, slot b, slot a…, each selected for good while the robot moves."""
    cuts = []
    threading.Event().wait(1.1)
    for index in range(PLAYED):
        name, release = (("b", NEW), ("a", OLD))[index % 2]
        robot.wait_selectable(name)
        taken = robot.control("select", slot=name, release=str(release), probation_s=0, fallback=None)
        threading.Event().wait(1.3)
        cuts.append(ticks.cutover(heard.read(), taken["monotonic_ns"] / 1e9))
    return cuts


def failing_cutovers(robot: PlayedRobot, heard: Listening) -> tuple[list[ticks.Cutover], list[float]]:
    """A new slot that fails on probation: what the listener heard around the way back, and how late that was (ms over what it may take)."""
    chance, cuts, over_ms = random.Random(7), [], []
    for index in range(PLAYED):
        heard.forget()
        robot.select_new()
        threading.Event().wait(0.5 + chance.random())
        kind, at_s = index % len(FAILURES), time.monotonic()
        FAILURES[kind](robot.slots["b"])
        reverted = wait_until(lambda: robot.status["reverted"], 5.0, "the way back")
        threading.Event().wait(1.3)
        back_s = reverted["monotonic_ns"] / 1e9
        cuts.append(ticks.cutover(heard.read(), back_s))
        over_ms.append((back_s - at_s) * 1e3 - BACK_MS[kind])
        for part in (robot.slots["b"].stop, robot.slots["b"].heal, robot.slots["b"].start):
            part()
    return cuts, over_ms


def played() -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory() as folder,
        PlayedRobot(Path(folder) / "robot") as robot,
        Listening(robot) as heard,
    ):
        robot.drive()
        cuts = played_cutovers(robot, heard)
        failing, over_ms = failing_cutovers(robot, heard)
    for index, cut in enumerate([*cuts, *failing]):
        if cut.missed_ticks:
            print(f"cutover {index} missed {cut.missed_ticks}, commands at: {cut.times_s}", file=sys.stderr)
    return {
        "cutovers": len(cuts),
        "cutovers_while_moving": sum(cut.moving for cut in cuts),
        "missed_ticks": sum(cut.missed_ticks for cut in cuts),
        "max_gap_ms": max(cut.max_gap_ms for cut in cuts),
        "steps_over_the_slope": sum(steepest(cut) > SLOPE + 1e-6 for cut in [*cuts, *failing]),
        "failing_slots": len(failing),
        "failing_slot_missed_ticks": sum(cut.missed_ticks for cut in failing),
        "failing_slot_max_gap_ms": max(cut.max_gap_ms for cut in failing),
        "back_later_than_allowed": sum(over > 0.0 for over in over_ms),
    }


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
    real_time()
    with noise() as quiet:
        figures = played() | {"real_policies": real_policies(gaps := [])}
    baseline = {"restart_max_gap_ms": max(gaps), "restarts": len(gaps)}
    report("cutover", {"cutover": figures}, {"cutover": baseline}, quiet)
    return 0


def real_policies(gaps: list[float]) -> dict[str, object]:
    """Cutovers through the agent; `gaps` gets those of the baseline, in ms."""
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    try:
        published = publish(scratch, scratch / "keys", ("1.0.0", "1.1.0"))
        with driving(scratch, published, published.releases["1.0.0"]) as robot:
            wait_until(lambda: robot.speed() >= ticks.MOVING_MPS, 20.0, "the robot to move")
            cuts = []
            for index in range(CUTOVERS):
                switch(robot, published.releases["1.1.0" if index % 2 == 0 else "1.0.0"])
                cuts.append(ticks.cutover(robot.records(), last_select_s(robot)))
            gaps += [restart(robot) for _ in range(BASELINES)]
    finally:
        shutil.rmtree(scratch)
    return {
        "cutovers": len(cuts),
        "cutovers_while_moving": sum(cut.moving for cut in cuts),
        "missed_ticks": sum(cut.missed_ticks for cut in cuts),
        "max_gap_ms": max(cut.max_gap_ms for cut in cuts),
    }


if __name__ == "__main__":
    sys.exit(main())
