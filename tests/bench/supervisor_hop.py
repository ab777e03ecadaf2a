"""What the supervisor costs: from a tick's deadline to a listener, from an action to the first command that came from
it, and its memory and processor time.

The robot drives with 50 Hz odometry, a 10 Hz scan and two 20 Hz slots of 16 steps. Baseline beside it, in the same
process as the played body: a publisher that writes `/cmd_vel`'s type straight to the same listener, without anybody
between.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from geometry_msgs.msg import TwistStamped

from tests.bench.harness import FULL, noise, percentile, real_time, report
from tests.testbed.listening import Listening
from tests.testbed.played import PlayedRobot, Repeat

SECONDS = 120.0 if FULL else 20.0
TICK_MS = 20.0


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


class Straight:
    """The same message at the same rate, stamped when it is sent; arrival is taken by a subscription in this process's
    executor.
    """

    def __init__(self, robot: PlayedRobot) -> None:
        self.hops_ms: list[float] = []
        self._publisher = robot.ros.publisher("/plain/applied", TwistStamped)
        robot.ros.node.create_subscription(TwistStamped, "/plain/applied", self._on_message, 10)
        self._repeat = Repeat(50, self._publish)
        self._repeat.start()

    def _publish(self) -> None:
        message = TwistStamped()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)
        self._publisher.publish(message)

    def _on_message(self, message: TwistStamped) -> None:
        stamp = message.header.stamp
        self.hops_ms.append((time.time() - stamp.sec - stamp.nanosec * 1e-9) * 1e3)

    def stop(self) -> None:
        self._repeat.stop()


def derived_ms(records: list[dict[str, Any]]) -> list[float]:
    """For every action that was applied, the time from hearing it to hearing the first command derived from it."""
    heard = {r["id"]: r["t"] for r in records if r["k"] == "action"}
    first: dict[str, float] = {}
    for record in records:
        if record["k"] == "applied" and record["id"]:
            first.setdefault(record["id"], record["t"])
    return [(at - heard[name]) * 1e3 for name, at in first.items() if name in heard]


def main() -> int:
    real_time()
    with tempfile.TemporaryDirectory() as name, noise() as quiet, PlayedRobot(Path(name) / "robot") as robot:
        for slot in robot.slots.values():
            slot.steps = 16
        with Listening(robot) as heard:
            robot.drive()
            straight, pid = Straight(robot), robot.supervisor.pid
            heard.forget()
            before_s, start_s = cpu_s(pid), time.monotonic()
            threading.Event().wait(SECONDS)
            spent_s, elapsed_s, memory = cpu_s(pid) - before_s, time.monotonic() - start_s, rss_mb(pid)
            straight.stop()
            records, ticks = list(heard.read()), robot.status["ticks"]
    hops = [r["hop_ms"] for r in records if r["k"] == "applied"]
    derived = derived_ms(records)
    hop = {
        "p50_ms": round(percentile(hops, 0.5), 2),
        "p99_ms": round(percentile(hops, 0.99), 2),
        "rss_mb": round(memory, 1),
        "cpu_percent": round(100.0 * spent_s / elapsed_s, 1),
        "action_to_command_p99_over_tick_ms": round(percentile(derived, 0.99) - TICK_MS, 2),
        "action_to_command_max_ms": round(max(derived), 2),
        "commands": len(hops),
        "tick_late_p99_ms": ticks["late_p99_ms"],
        "scheduler": ticks["scheduler"],
    }
    baseline = {
        "p50_ms": round(percentile(straight.hops_ms, 0.5), 2),
        "p99_ms": round(percentile(straight.hops_ms, 0.99), 2),
    }
    report("supervisor_hop", {"supervisor_hop": hop}, {"straight": baseline}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
