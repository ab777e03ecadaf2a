"""How long a robot goes on after its policy is gone.

From `kill()` to the first zero on `/cmd_vel` that is held for a second.

A policy is a process that says something at 20 Hz, with 8 or with 16 steps left; it is killed (SIGKILL) or frozen
(SIGSTOP) while the robot drives. Sensors are lost the same way: from the last message to the first zero, less the
source's largest age. Baselines beside it, on the same robot: a node that repeats its last command for ever, as the
seed's do, and one with the usual command timeout of 0.5 s.
"""

from __future__ import annotations

import math
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
from trajectory_msgs.msg import JointTrajectory

from tests.bench.harness import FULL, Trials, percentile, real_time
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot, Repeat

TRIALS = 100 if FULL else 12
SENSOR_TRIALS = 20 if FULL else 4
HELD_S = 1.0
COMMAND_TIMEOUT_S = 0.5
PERIOD_S = 0.05


def driving(robot: PlayedRobot) -> None:
    robot.wait_healthy()
    robot.operator("arm")
    robot.wait_speed(0.3)


def settle(robot: PlayedRobot, chance: random.Random) -> None:
    """Let go at any moment of the slot's period."""
    threading.Event().wait(0.1 + chance.random() * PERIOD_S)


def kill(
    robot: PlayedRobot, heard: Listening, number: signal.Signals, steps: int, chance: random.Random
) -> tuple[float, float]:
    """One policy killed or frozen while it drives: when (monotonic s), and the milliseconds to zero."""
    program = robot.start_slot("a", steps=steps)
    driving(robot)
    settle(robot, chance)
    at_s = time.monotonic()
    program.signal(number)
    zero_s = heard.held_zero(at_s, HELD_S)
    if number is signal.SIGSTOP:
        program.signal(signal.SIGKILL)
    program.wait(3.0)
    heard.forget()
    return at_s, (zero_s - at_s) * 1e3


def sensor_over_age_ms(
    robot: PlayedRobot, heard: Listening, name: str, max_age_s: float, chance: random.Random
) -> float:
    """One sensor lost while the robot drives; milliseconds to zero after its largest age has passed."""
    driving(robot)
    settle(robot, chance)
    setattr(robot.body, f"{name}_on", False)
    last_s = robot.body.sent_s[name]
    zero_s = heard.held_zero(time.monotonic(), HELD_S)
    setattr(robot.body, f"{name}_on", True)
    return (zero_s - last_s - max_age_s) * 1e3


class PlainNode:
    """What a plain node does: it repeats the last action that it heard.

    It says zero once that action is older than `timeout_s`.
    """

    def __init__(self, robot: PlayedRobot, timeout_s: float) -> None:
        self.zero_s = self._heard_s = 0.0
        self._timeout_s, self._speed = timeout_s, 0.0
        self._publisher = robot.ros.publisher("/plain/cmd_vel", Twist)
        robot.ros.node.create_subscription(JointTrajectory, "/slot_a/action", self._on_action, 10)
        self._repeat = Repeat(50, self._publish)
        self._repeat.start()

    def _on_action(self, message: JointTrajectory) -> None:
        self._heard_s, self._speed = time.monotonic(), message.points[0].velocities[0]

    def _publish(self) -> None:
        now_s, message = time.monotonic(), Twist()
        if now_s - self._heard_s <= self._timeout_s:
            message.linear.x, self.zero_s = self._speed, 0.0
        elif not self.zero_s:
            self.zero_s = now_s
        self._publisher.publish(message)

    def stop(self) -> None:
        self._repeat.stop()


def killed(trials: Trials, folder: Path) -> list[dict[str, Any]]:
    """Policies that are killed or frozen, beside what plain nodes do then; milliseconds."""
    with PlayedRobot(folder, slots="") as robot, Listening(robot) as heard:
        plain, seed = PlainNode(robot, COMMAND_TIMEOUT_S), PlainNode(robot, math.inf)

        def one(number: int) -> dict[str, Any]:
            sent, steps = (signal.SIGKILL, signal.SIGSTOP)[number % 2], (8, 16)[number // 2 % 2]
            at_s, stop_ms = kill(robot, heard, sent, steps, random.Random(number))
            plain_ms = (plain.zero_s - at_s) * 1e3
            kind = f"{sent.name}_{steps}".lower()
            return {"kind": kind, "stop_ms": stop_ms, "plain_ms": plain_ms, "seed_stopped": bool(seed.zero_s)}

        outcomes = trials.run("killed", TRIALS, one)
        plain.stop()
        seed.stop()
    return outcomes


def blinded(trials: Trials, folder: Path) -> list[float]:
    """Sensors that are lost; milliseconds over their largest age."""
    with PlayedRobot(folder, slots="a") as robot, Listening(robot) as heard:

        def one(number: int) -> float:
            source = ("scan", "odom")[number // SENSOR_TRIALS]
            return sensor_over_age_ms(robot, heard, source, 0.5, random.Random(number))

        return trials.run("sensors", 2 * SENSOR_TRIALS, one)


def main() -> int:
    real_time()
    trials = Trials("stop_latency")
    with tempfile.TemporaryDirectory() as name, trials.noise():
        kills, over = killed(trials, Path(name) / "kill"), blinded(trials, Path(name) / "sensor")
    every = [each["stop_ms"] for each in kills]
    kinds = sorted({each["kind"] for each in kills})
    worst = {f"worst_{kind}_ms": max(each["stop_ms"] for each in kills if each["kind"] == kind) for kind in kinds}
    figures = {
        "worst_ms": round(max(every), 1),
        "p50_ms": round(percentile(every, 0.5), 1),
        "trials": len(every),
        **{name: round(value, 1) for name, value in worst.items()},
        "sensor_worst_over_age_ms": round(max(over), 1),
        "sensor_trials": len(over),
    }
    baselines = {
        "seed_node": f"never ({sum(each['seed_stopped'] for each in kills)} of {len(every)} within {HELD_S:g} s)",
        "command_timeout_worst_ms": round(max(each["plain_ms"] for each in kills), 1),
    }
    trials.report({"stop_latency": figures}, {"stop_latency": baselines})
    return 0


if __name__ == "__main__":
    sys.exit(main())
