"""How long a robot goes on after its policy is gone: from `kill()` to the first zero on `/cmd_vel` that is held for a second.

A policy is a process that says something at 20 Hz, with 8 or with 16 steps left; it is killed (SIGKILL) or frozen (SIGSTOP) while the robot drives.
Sensors are lost the same way: from the last message to the first zero, less the source's largest age. Baselines beside it, on the same robot: a node
that repeats its last command for ever, as the seed's do, and one with the usual command timeout of 0.5 s.
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

from geometry_msgs.msg import Twist
from trajectory_msgs.msg import JointTrajectory

from tests.bench.harness import FULL, noise, percentile, real_time, report
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
    """What a plain node does: it repeats the last action it heard, and says zero once that is older than `timeout_s`."""

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


def main() -> int:
    real_time()
    chance = random.Random(4)
    kills: dict[str, list[float]] = {}
    plain_ms, seed_stopped = [], 0
    with tempfile.TemporaryDirectory() as name, noise() as quiet:
        with PlayedRobot(Path(name) / "kill", slots="") as robot, Listening(robot) as heard:
            plain, seed = PlainNode(robot, COMMAND_TIMEOUT_S), PlainNode(robot, math.inf)
            for trial in range(TRIALS):
                number = (signal.SIGKILL, signal.SIGSTOP)[trial % 2]
                steps = (8, 16)[trial // 2 % 2]
                at_s, stop_ms = kill(robot, heard, number, steps, chance)
                kills.setdefault(f"{number.name}_{steps}", []).append(stop_ms)
                plain_ms.append((plain.zero_s - at_s) * 1e3)
                seed_stopped += bool(seed.zero_s)
            plain.stop()
            seed.stop()
        with PlayedRobot(Path(name) / "sensor", slots="a") as robot, Listening(robot) as heard:
            over = [
                sensor_over_age_ms(robot, heard, source, 0.5, chance)
                for source in ("scan", "odom")
                for _ in range(SENSOR_TRIALS)
            ]
    every = [value for values in kills.values() for value in values]
    figures = {
        "stop_latency": {
            "worst_ms": round(max(every), 1),
            "p50_ms": round(percentile(every, 0.5), 1),
            "trials": len(every),
            **{f"worst_{key.lower()}_ms": round(max(values), 1) for key, values in kills.items()},
            "sensor_worst_over_age_ms": round(max(over), 1),
            "sensor_trials": len(over),
        }
    }
    baselines = {
        "seed_node": f"never ({seed_stopped} of {len(every)} within {HELD_S:g} s)",
        "command_timeout_worst_ms": round(max(plain_ms), 1),
    }
    report("stop_latency", figures, {"stop_latency": baselines}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
