"""What every bench shares: the noise thread beside it, the long mode, and the JSON line it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("FULL") == "1"
NOISE_LIMIT_MS = 2.0


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
    """Measure the machine's own lateness while the body runs. The thread runs at the priority that the tick threads ask for."""
    measured, stop = Noise(), threading.Event()

    def run() -> None:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        deadline = time.monotonic()
        while not stop.is_set():
            deadline += 0.05
            time.sleep(max(0.0, deadline - time.monotonic()))
            measured.late_ms.append((time.monotonic() - deadline) * 1000)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield measured
    finally:
        stop.set()
        thread.join()


def report(bench: str, figures: dict[str, object], baselines: dict[str, object], quiet: Noise) -> None:
    """Print the closing JSON line. Figure names carry their unit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    line = {
        "bench": bench,
        "commit": commit or "unknown",
        "verdict": "conclusive" if quiet.conclusive else "inconclusive",
        "noise_p99_ms": quiet.p99_ms,
        "figures": figures,
        "baselines": baselines,
    }
    print(json.dumps(line), flush=True)
