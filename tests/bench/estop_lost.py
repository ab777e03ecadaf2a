"""How many stops are lost while the supervisor is held up for 0 to 300 ms.

Pressed e-stops and spoken emergencies with 1 to 100 messages behind each.

The press comes from a button of any QoS; what is behind it, from the same button or another one. Baseline: a queue of
depth 10 for all publishers together, read once a tick and held up for as long.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile
from std_msgs.msg import Bool, String

from model_registry.core.errors import RefusedError
from tests.bench.harness import FULL, Trials
from tests.fakes.ros import wait_until
from tests.testbed.faults_stops import OFFERS, stranger
from tests.testbed.played import PlayedRobot

TRIALS = 1000 if FULL else 40
TICK_S = 0.02
HEARD_WITHIN_S = 2.0


class Former:
    """A queue of depth 10 that is read once a tick."""

    def __init__(self, robot: PlayedRobot) -> None:
        node = robot.elsewhere.node
        self._heard: list[bool] = []
        self._subscription = node.create_subscription(Bool, "/safety/estop", print, QoSProfile(depth=10))
        robot.elsewhere.pause()

    def pressed(self) -> bool:
        """Whether a press is in what the queue still holds; empties it."""
        found = False
        while (taken := self._subscription.handle.take_message(Bool, False)) is not None:
            found |= bool(taken[0].data)
        return found


def press(publisher: Any, others: list[Any], count: int, choice: random.Random) -> None:
    publisher.publish(Bool(data=True))
    for _ in range(count):
        choice.choice([publisher, *others]).publish(Bool(data=False))


def say(voice: Any, count: int) -> None:
    voice.publish(String(data="Emergency stop!"))
    for number in range(count):
        voice.publish(String(data=f"go to the red pillar {number}"))


def reset(robot: PlayedRobot) -> None:
    """Ready for the next trial: nothing latched."""

    def done() -> bool:
        try:
            return bool(robot.operator("reset")["state"] == "SAFE_STOP")
        except RefusedError:
            return False

    wait_until(done, 15.0, f"the reset; it says {robot.status}")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, PlayedRobot(Path(folder)) as robot:
        buttons = [robot.estop, *(stranger(robot, "/safety/estop", Bool, qos) for qos in OFFERS.values())]
        former = Former(robot)
        robot.wait_healthy()

        def trial(number: int) -> dict[str, object]:
            choice = random.Random(number)
            count, pause_s, spoken = (
                choice.randint(1, 100),
                choice.choice([0.0, choice.uniform(0.0, 0.3)]),
                number % 4 == 3,
            )
            button = choice.choice(buttons)
            former.pressed()
            deed: Callable[[], None] = (
                (lambda: say(robot.voice, count)) if spoken else (lambda: press(button, buttons, count, choice))
            )
            robot.supervisor.signal(signal.SIGSTOP)
            try:
                deed()
                threading.Event().wait(pause_s + TICK_S)
                former_lost = None if spoken or button is not robot.estop else not former.pressed()
            finally:
                robot.supervisor.signal(signal.SIGCONT)
            try:
                wait_until(lambda: "estop" in robot.status["latched"], HEARD_WITHIN_S, "the press to be heard")
            except AssertionError:
                lost = True
            else:
                lost = False
            for each in buttons:
                each.publish(Bool(data=False))
            reset(robot)
            return {"behind": count, "pause_s": round(pause_s, 3), "lost": lost, "former_lost": former_lost}

        trials = Trials("estop_lost")
        with trials.noise():
            outcomes = trials.run("presses", TRIALS, trial)
    former_trials = [outcome["former_lost"] for outcome in outcomes if outcome["former_lost"] is not None]
    figures = {
        "trials": len(outcomes),
        "lost": sum(outcome["lost"] for outcome in outcomes),
        "most_behind": max(outcome["behind"] for outcome in outcomes),
        "longest_pause_ms": round(max(outcome["pause_s"] for outcome in outcomes) * 1e3),
    }
    trials.report({"estop_lost": figures}, {"depth_10": {"trials": len(former_trials), "lost": sum(former_trials)}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
