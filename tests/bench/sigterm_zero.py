"""The last message of a supervisor that is told to end, in every state and by both signals, as an independent listener hears it.

Baseline: what rclpy's own handler does, whose context is gone before a program's last message: the same played robot, a node that publishes zero when
it ends, as the seed's nodes mean to.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.harness import FULL, noise, report
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
    """Bring a new supervisor into a state and end it; whether its last message was zero, after how many ms it came, and the exit code."""
    robot.body.scan_on, robot.slots["a"].steps, robot.slots["a"].speed = state != "BOOT", 8, 0.3
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


def seed_stops(robot: PlayedRobot, heard: Listening) -> int:
    """In how many of the trials a node with rclpy's own handler said zero at its end."""
    zeros = 0
    for _ in range(BASELINES):
        program = robot.folder / "seed_node.py"
        program.write_text(SEED_NODE)
        heard.forget()
        with Process([robot.python, str(program)], robot.environment, robot.folder / "seed.log") as node:
            wait_until(
                lambda: [r for r in heard.read() if r["k"] == "cmd" and r["v"]], 10.0, "the seed's node to publish"
            )
            node.signal(signal.SIGTERM)
            node.wait(5.0)
        wait_until(lambda: time.monotonic() - heard.read()[-1]["t"] > 0.0, 5.0, "the listener")
        commands = [r for r in heard.read() if r["k"] == "cmd"]
        zeros += commands[-1]["v"] == 0.0
    return zeros


def main() -> int:
    zeros, codes, latest, by_state = 0, 0, 0.0, {}
    with tempfile.TemporaryDirectory() as name, noise() as quiet:
        robot = PlayedRobot(Path(name) / "robot", slots="a")
        with robot, Listening(robot) as heard:
            robot.supervisor.stop()
            for index in range(TRIALS):
                state = list(STATES)[index % len(STATES)]
                number = (signal.SIGTERM, signal.SIGINT)[index // len(STATES) % 2]
                zero, late_ms, code = trial(robot, heard, state, number)
                zeros, codes, latest = zeros + zero, codes + (code == 0), max(latest, late_ms)
                by_state[state] = by_state.get(state, 0) + zero
            seed = seed_stops(robot, heard)
    figures = {
        "trials": TRIALS,
        "last_message_zero": zeros,
        "exit_code_0": codes,
        "latest_ms": round(latest, 1),
        **by_state,
    }
    report(
        "sigterm_zero",
        {"sigterm_zero": figures},
        {"seed_node": {"trials": BASELINES, "last_message_zero": seed}},
        quiet,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
