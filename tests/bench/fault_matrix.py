"""Every edge of the journal × every fault on a stand-in robot: no point may end on anything but the old or the new release, verified and told.

`SABOTAGE=no_fsync|no_gate|no_crc` takes one safeguard away: then it must fail, and stops at the first point that does. Words after the command pick points
(`switch`, `COMMIT`, `power_cut`). Baseline: Mender's 33 kill cases in its own unit tests.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.bench.harness import noise, report
from tests.fakes.stand_in import StandIn
from tests.testbed.edges import SABOTAGE, Outcome, Range, points


def play(words: list[str]) -> list[Outcome]:
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, StandIn(Path(folder)) as robot:
        robot.prepare()
        played = Range(robot)
        for point in points():
            if all(word in str(point) for word in words):
                outcomes.append(played.play(point))
                if not outcomes[-1].ok:
                    print(f"{point}: {'; '.join(outcomes[-1].wrong) or 'the fault did not fire'}", flush=True)
                    if SABOTAGE:
                        break
    return outcomes


def main(words: list[str]) -> int:
    with noise() as quiet:
        outcomes = play(words)
    seconds = [outcome.seconds for outcome in outcomes]
    figures = {
        "points": len(outcomes),
        "fired": sum(outcome.fired for outcome in outcomes),
        "ok": sum(outcome.ok for outcome in outcomes),
        "boots": sum(outcome.states for outcome in outcomes),
        "median_s": round(statistics.median(seconds), 2),
        "longest_s": round(max(seconds), 2),
    }
    histogram = Counter(outcome.point.fault for outcome in outcomes if outcome.ok)
    report("fault_matrix", {"fault_matrix": figures, "ok_by_fault": dict(histogram)}, {"mender_kill_cases": 33}, quiet)
    return int(figures["ok"] != figures["points"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
