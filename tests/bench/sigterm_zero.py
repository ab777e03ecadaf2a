"""The last message of a supervisor that is told to end.

In every state and by both signals, as an independent listener hears it.

Baseline: what rclpy's own handler does, whose context is gone before a program's last message: the same played robot, a
node that publishes zero when it ends, as the seed's nodes mean to.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.harness import FULL, Trials
from tests.fakes.ros import Process, wait_until
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot

TRIALS = 200 if FULL else 14
BASELINES = 10 if FULL else 2
SILENCE_S = 0.4
SEED_NODE = """
import sys, rclpy
from geometry_msgs.msg import Twist
rclpy.init()
node = rclpy.create_node("seed")
publisher = node.create_publisher(Twist, "/cmd_vel", 10)
moving = Twist()
moving.linear.x = 0.3
node.create_timer(0.05, lambda: publisher.publish(moving))
try:
    rclpy.spin(node)
finally:
    publisher.publish(Twist())
"""


def boot(robot: PlayedRobot) -> None:
    robot.body.scan_on = False


def safe_stop(robot: PlayedRobot) -> None:
    robot.wait_healthy()


def armed(robot: PlayedRobot) -> None:
    robot.slots["a"].steps = 0
    robot.arm()


def run(robot: PlayedRobot) -> None:
    robot.drive()


def limited(robot: PlayedRobot) -> None:
    robot.slots["a"].speed = 0.7
    robot.drive(0.5)


def stopping(robot: PlayedRobot) -> None:
    robot.slots["a"].speed = 0.5
    robot.drive(0.5)
    robot.control("hold", owner="bench", reason="ramp")


def latched(robot: PlayedRobot) -> None:
    robot.drive()
    robot.operator("estop")


STATES: dict[str, Callable[[PlayedRobot], None]] = {
    "BOOT": boot,
    "SAFE_STOP": safe_stop,
    "ARMED": armed,
    "RUN": run,
    "LIMITED": limited,
    "STOPPING": stopping,
    "LATCHED": latched,
}


def trial(robot: PlayedRobot, heard: Listening, state: str, number: signal.Signals) -> tuple[bool, float, int]:
    """Bring a new supervisor into a state and end it.

    Whether its last message was zero, after how many ms it came, and the exit code.
    """
    robot.body.scan_on, robot.slots["a"].steps, robot.slots["a"].speed = state != "BOOT", 8, 0.3
    robot.layout.latched.unlink(missing_ok=True)  # what the trial before has left latched
    robot.start_supervisor()
    STATES[state](robot)
    robot.wait_state(state)
    heard.forget()
    at_s = time.monotonic()
    robot.supervisor.signal(number)
    code = robot.supervisor.wait(5.0)

    def last() -> dict[str, float] | None:
        commands = [r for r in heard.read() if r["k"] == "cmd"]
        quiet = commands and time.monotonic() - commands[-1]["t"] > SILENCE_S
        return commands[-1] if quiet else None

    final = wait_until(last, 5.0, "silence on /cmd_vel")
    return (final["v"], final["w"]) == (0.0, 0.0), (final["t"] - at_s) * 1e3, code


def seed_stops(robot: PlayedRobot, heard: Listening) -> bool:
    """Whether a node with rclpy's own handler said zero at its end."""
    program = robot.folder / "seed_node.py"
    program.write_text(SEED_NODE)
    heard.forget()
    with Process([robot.python, str(program)], robot.environment, robot.folder / "seed.log") as node:
        wait_until(lambda: [r for r in heard.read() if r["k"] == "cmd" and r["v"]], 10.0, "the seed's node to publish")
        node.signal(signal.SIGTERM)
        node.wait(5.0)
    wait_until(lambda: time.monotonic() - heard.read()[-1]["t"] > 0.0, 5.0, "the listener")
    commands = [r for r in heard.read() if r["k"] == "cmd"]
    return bool(commands[-1]["v"] == 0.0)


def main() -> int:
    trials = Trials("sigterm_zero")
    with tempfile.TemporaryDirectory() as name, trials.noise():
        robot = PlayedRobot(Path(name) / "robot", slots="a")
        with robot, Listening(robot) as heard:
            robot.supervisor.stop()

            def one(number: int) -> tuple[bool, float, int]:
                ending = (signal.SIGTERM, signal.SIGINT)[number // len(STATES) % 2]
                return trial(robot, heard, list(STATES)[number % len(STATES)], ending)

            ends = trials.run("supervisor", TRIALS, one)
            seeds = trials.run("seed_node", BASELINES, lambda _: seed_stops(robot, heard))
    by_state = {state: sum(zero for zero, _, _ in ends[number :: len(STATES)]) for number, state in enumerate(STATES)}
    figures = {
        "trials": len(ends),
        "last_message_zero": sum(zero for zero, _, _ in ends),
        "exit_code_0": sum(code == 0 for _, _, code in ends),
        "latest_ms": round(max(late_ms for _, late_ms, _ in ends), 1),
        **by_state,
    }
    baseline = {"trials": len(seeds), "last_message_zero": sum(seeds)}
    trials.report({"sigterm_zero": figures}, {"seed_node": baseline})
    return 0


if __name__ == "__main__":
    sys.exit(main())
