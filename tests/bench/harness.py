"""What every bench shares: the noise thread beside it, the long mode, and the JSON line it ends with."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("FULL") == "1"
NOISE_LIMIT_MS = 2.0


TICK_PRIORITY = 50  # what tick threads ask for


def real_time(priority: int = TICK_PRIORITY - 10) -> None:
    """Run this process, and all threads that it starts from now on, in real time where that is permitted: below what it measures.

    Without the collector: what a bench has recorded for minutes takes it a tenth of a second to walk through.
    """
    gc.disable()
    sys.setswitchinterval(0.0005)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Noise:
    """Lateness of an empty 20 Hz thread, in milliseconds: what the machine itself does to a deadline."""

    late_ms: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return round(percentile(self.late_ms, 0.99), 2) if self.late_ms else 0.0

    @property
    def conclusive(self) -> bool:
        return self.p99_ms <= NOISE_LIMIT_MS


@contextmanager
def noise() -> Iterator[Noise]:
    """Measure the machine's own lateness while the body runs: a process of its own, which shares no interpreter with what is measured."""
    measured = Noise()
    argv = [sys.executable, "-m", "tests.bench.harness"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield measured
        finally:
            out, _ = child.communicate()
            measured.late_ms = json.loads(out)


def lateness() -> list[float]:
    """How late an empty 20 Hz thread is, until stdin ends; in milliseconds, at the priority that the tick threads ask for."""
    stop, late = threading.Event(), []

    def run() -> None:
        real_time(TICK_PRIORITY)
        deadline = time.monotonic()
        while not stop.is_set():
            deadline += 0.05
            time.sleep(max(0.0, deadline - time.monotonic()))
            late.append(round((time.monotonic() - deadline) * 1000, 3))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    sys.stdin.read()
    stop.set()
    thread.join()
    return late


def report(
    bench: str, figures: dict[str, object], baselines: dict[str, object], quiet: Noise, *, ran: bool = True
) -> None:
    """Print the closing JSON line. Figure names carry their unit. `ran`: false where the hardware for it is not here."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    line = {
        "bench": bench,
        "commit": commit or "unknown",
        "verdict": "not run" if not ran else "conclusive" if quiet.conclusive else "inconclusive",
        "noise_p99_ms": quiet.p99_ms,
        "figures": figures,
        "baselines": baselines,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    print(json.dumps(lateness()))
