"""Cutovers between two slots of a moving robot.

Missed ticks and the largest gap, as an independent listener hears them.

First with played slots, many times: half of them with a new slot that fails at a random moment of its probation. Then
with real policies: the robot drives left turns at 0.25 m/s, and `homeport-agent switch` alternates between 1.0.0 and
1.1.0. Baseline: the same change by stopping the old policy process and starting the new one, as a container restart
does it, with the operator's reset and arm made at once.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.harness import FULL, Trials, real_time
from tests.fakes.ros import wait_until
from tests.testbed import ticks
from tests.testbed.fleet import Robot, stop_slot
from tests.testbed.listening import Listening
from tests.testbed.played import NEW, OLD, PlayedRobot
from tests.testbed.registry import publish
from tests.testbed.trials import driving, other

PLAYED = 100 if FULL else 10
CUTOVERS = 10 if FULL else 2
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


def played_cutover(robot: PlayedRobot, heard: Listening) -> ticks.Cutover:
    """The other slot, selected for good while the robot moves."""
    name, release = ("b", NEW) if robot.status["selected"]["slot"] == "a" else ("a", OLD)
    robot.wait_selectable(name)
    taken = robot.control("select", slot=name, release=str(release), probation_s=0, fallback=None)
    threading.Event().wait(1.3)
    return ticks.cutover(heard.read(), taken["monotonic_ns"] / 1e9)


def failing_cutover(robot: PlayedRobot, heard: Listening, number: int) -> dict[str, Any]:
    """A new slot that fails on probation.

    What the listener heard around the way back, and how late that was (ms over what it may take).
    """
    heard.forget()
    robot.select_new()
    threading.Event().wait(0.5 + random.Random(number).random())
    kind, at_s = number % len(FAILURES), time.monotonic()
    FAILURES[kind](robot.slots["b"])
    reverted = wait_until(lambda: robot.status["reverted"], 5.0, "the way back")
    threading.Event().wait(1.3)
    back_s = reverted["monotonic_ns"] / 1e9
    cut = ticks.cutover(heard.read(), back_s)
    for part in (robot.slots["b"].stop, robot.slots["b"].heal, robot.slots["b"].start):
        part()
    return {"cut": asdict(cut), "over_ms": (back_s - at_s) * 1e3 - BACK_MS[kind]}


def played(trials: Trials) -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory() as folder,
        PlayedRobot(Path(folder) / "robot") as robot,
        Listening(robot) as heard,
    ):
        robot.drive()
        threading.Event().wait(1.1)
        outcomes = trials.run("played", PLAYED, lambda _: asdict(played_cutover(robot, heard)))
        if robot.status["selected"]["slot"] == "b":
            played_cutover(robot, heard)
        backs = trials.run("failing", PLAYED, lambda number: failing_cutover(robot, heard, number))
    cuts, failing = [ticks.Cutover(**each) for each in outcomes], [ticks.Cutover(**each["cut"]) for each in backs]
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
        "back_later_than_allowed": sum(each["over_ms"] > 0.0 for each in backs),
    }


def switch(robot: Robot, digest: str) -> None:
    robot.agent("switch", digest, "--commit", "auto", "--gate", "moving", "--probation", "1")


def last_select_s(robot: Robot) -> float:
    """When the newest SWITCH took effect, monotonic seconds."""
    done = [r for r in robot.journal() if (r["stage"], r["phase"]) == ("SWITCH", "done")]
    return float(done[-1]["detail"]["monotonic_ns"]) / 1e9


def restart(robot: Robot) -> float:
    """The baseline: the gap (ms) when the driving policy is ended and the agent starts it again.

    The robot is armed again as soon as that is possible.
    """
    before = time.monotonic()
    slot = robot.layout.current.readlink().name
    stop_slot(robot.layout, slot)
    robot.arm(30.0)
    wait_until(lambda: robot.speed() >= ticks.MOVING_MPS, 20.0, "the robot to move again")
    times = [item[0] for item in ticks.live_commands(robot.records()) if item[0] > before - 0.5]
    return round(max(b - a for a, b in pairwise(times)) * 1000, 1)


def main() -> int:
    real_time()
    trials = Trials("cutover")
    with trials.noise():
        figures = played(trials)
        cuts, gaps = real_policies(trials)
    real = {
        "cutovers": len(cuts),
        "cutovers_while_moving": sum(cut.moving for cut in cuts),
        "missed_ticks": sum(cut.missed_ticks for cut in cuts),
        "max_gap_ms": max(cut.max_gap_ms for cut in cuts),
    }
    baseline = {"restart_max_gap_ms": max(gaps), "restarts": len(gaps)}
    trials.report({"cutover": {**figures, "real_policies": real}}, {"cutover": baseline})
    return 0


def real_policies(trials: Trials) -> tuple[list[ticks.Cutover], list[float]]:
    """Cutovers through the agent, and the gaps of the baseline in ms."""
    scratch = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    try:
        published = publish(scratch, scratch / "keys", ("1.0.0", "1.1.0"))
        with driving(scratch, published, published.releases["1.0.0"]) as robot:
            wait_until(lambda: robot.speed() >= ticks.MOVING_MPS, 20.0, "the robot to move")

            def one(_: int) -> dict[str, Any]:
                switch(robot, other(robot, published))
                return asdict(ticks.cutover(robot.records(), last_select_s(robot)))

            cuts = trials.run("real", CUTOVERS, one)
            gaps = trials.run("restarts", BASELINES, lambda _: restart(robot))
    finally:
        shutil.rmtree(scratch)
    return [ticks.Cutover(**each) for each in cuts], gaps


if __name__ == "__main__":
    sys.exit(main())
