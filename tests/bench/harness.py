"""What every bench shares.

The noise thread beside it, the long mode, the trials that it keeps, and the JSON line that it ends with.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "bench"
FULL = os.environ.get("FULL") == "1"
FRESH = os.environ.get("FRESH") == "1"
NOISE_LIMIT_MS = 2.0

TICK_PRIORITY = 50  # what tick threads ask for


def real_time(priority: int = TICK_PRIORITY - 10) -> None:
    """Run this process, and all threads that it starts from now on, in real time where that is permitted.

    Its priority is below what it measures.

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


def kept_ms(before: list[list[Any]], after: list[list[Any]], share: float) -> float:
    """The first bound that `share` of what a slot counted between two statuses keeps (`Counts`).

    Infinite where they keep none.
    """
    counts = [(late[0], late[1] - early[1]) for early, late in zip(before, after, strict=True)]
    wanted, kept = share * sum(count for _, count in counts), 0
    for bound, count in counts:
        kept += count
        if bound is not None and kept >= wanted:
            return float(bound)
    return float("inf")


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
    """Measure the machine's own lateness while the body runs.

    In a process of its own, which shares no interpreter with what is measured.
    """
    measured = Noise()
    argv = [sys.executable, "-m", "tests.bench.harness"]
    # In a session of its own: what ends the bench early must still get the lateness that was seen.
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as child:
        try:
            yield measured
        finally:
            out, _ = child.communicate()
            measured.late_ms = json.loads(out)


def lateness() -> list[float]:
    """How late an empty 20 Hz thread is (ms), until stdin ends, at the priority that the tick threads ask for."""
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


def _git(*arguments: str) -> str:
    """What git says of this checkout; nothing in an image, which has no git."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return ""


def report(
    bench: str, figures: dict[str, object], baselines: dict[str, object], quiet: Noise, *, ran: bool = True
) -> None:
    """Print the closing JSON line.

    Figure names carry their unit. `ran`: false where the hardware for it is not here.
    """
    line = {
        "bench": bench,
        "commit": _git("rev-parse", "--short", "HEAD").strip() or "unknown",
        "verdict": "not run" if not ran else "conclusive" if quiet.conclusive else "inconclusive",
        "noise_p99_ms": quiet.p99_ms,
        "figures": figures,
        "baselines": baselines,
    }
    print(json.dumps(line), flush=True)


def code() -> str:
    """Which code is measured: the commit, and a digest of what was changed since."""
    commit, changes = _git("rev-parse", "--short", "HEAD").strip() or "unknown", _git("diff", "HEAD")
    return f"{commit}-dirty-{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else commit


class Trials:
    """What the trials of a bench gave, one JSON line each in build/bench.

    A start after an interrupted one goes on behind its last trial.

    A file belongs to one bench, code and mode. A run ends with its report, and the next start is another run, which is
    told beside the earlier ones.
    """

    def __init__(self, bench: str, fresh: bool = FRESH, folder: Path = KEPT) -> None:
        self._bench, self._path = bench, folder / f"{bench}.{code()}.{'full' if FULL else 'quick'}.jsonl"
        self._outcomes: dict[str, list[Any]] = {}
        self._runs: list[Any] = []
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            with suppress(ValueError):  # a torn line is a trial that did not end
                self._take(json.loads(line))
        if fresh:
            self._write({"end": None})
        elif self._outcomes:
            counts = ", ".join(f"{len(each)} of {part}" for part, each in self._outcomes.items() if part != "noise")
            print(f"{bench}: goes on behind {counts}; FRESH=1 starts anew", file=sys.stderr, flush=True)

    def _take(self, record: dict[str, Any]) -> None:
        if "end" in record:
            self._outcomes = {}
            self._runs += [record["end"]] if record["end"] else []
        else:
            self._outcomes.setdefault(record["part"], []).append(record["outcome"])

    def _write(self, record: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record)
        with self._path.open("a") as file:
            file.write(f"\n{line}")  # so that a torn line ends here, and spoils no other
        self._take(json.loads(line))

    def run(self, part: str, count: int, trial: Callable[[int], object]) -> list[Any]:
        """What `count` trials gave, as JSON has it; each is called with its number, unless its outcome was kept."""
        for number in range(self.done(part), count):
            self.keep(part, trial(number))
        return self.kept(part)[:count]

    def keep(self, part: str, outcome: object) -> None:
        """What one more trial gave: for trials that no number names."""
        self._write({"part": part, "outcome": outcome})

    def kept(self, part: str) -> list[Any]:
        """What the trials of this run gave so far, earlier starts' first."""
        return self._outcomes.get(part, [])

    def done(self, part: str) -> int:
        return len(self.kept(part))

    @contextmanager
    def noise(self) -> Iterator[None]:
        """The noise thread beside the trials of this start. SIGTERM ends them as Ctrl-C does."""
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        quiet = Noise()
        try:
            with noise() as quiet:
                yield
        finally:
            self.keep("noise", quiet.late_ms)

    def report(self, figures: dict[str, object], baselines: dict[str, object]) -> None:
        """End the run with the closing line over all its starts; the noisiest of them has the verdict.

        Earlier runs of this code go to stderr.
        """
        quiet = max((Noise(late_ms) for late_ms in self._outcomes["noise"]), key=lambda each: each.p99_ms)
        for number, earlier in enumerate(self._runs, start=1):
            print(f"run {number} of this code: {json.dumps(earlier)}", file=sys.stderr, flush=True)
        self._write({"end": {"noise_p99_ms": quiet.p99_ms, "figures": figures}})
        report(self._bench, figures, baselines, quiet)


if __name__ == "__main__":
    print(json.dumps(lateness()))
