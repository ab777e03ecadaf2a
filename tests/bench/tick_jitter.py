"""How late the control thread of a slot wakes at 20 Hz, and how many ticks it misses.

With a VGA camera at 30 Hz; 5 minutes with FULL=1.

`p99_ms` is over all ticks: the first bound of the slot's own counts that 99 % of them keep. `worst_window_p99_ms` is
the worst that the slot told of 10 s.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from stack.models.package import Form
from tests.bench.harness import FULL, kept_ms, noise, percentile, report
from tests.fakes.ros import wait_until
from tests.fakes.tiny import make_null_model
from tests.testbed.slot_bed import SlotBed

WINDOWS = 30 if FULL else 2
WINDOW_TICKS = 200  # what the slot's own p99 is over: 10 s


def main() -> int:
    with tempfile.TemporaryDirectory() as name, noise() as quiet:
        model = make_null_model(Path(name) / "model", form=Form("homeport/null", 224, "linear", 360, 20))
        with SlotBed(model, "resource_optimized", backends=["null"], overrides={"null_ms": 10.0}) as bed:
            bed.wait_driving()
            before = after = bed.status()
            late_p99_ms = []
            for _ in range(WINDOWS):
                wanted = after["actions"] + WINDOW_TICKS
                wait_until(lambda wanted=wanted: bed.status()["actions"] >= wanted, 60.0, "200 ticks")
                after = bed.status()
                late_p99_ms.append(after["late_p99_ms"])
    figures = {
        "p99_ms": kept_ms(before["late_counts"], after["late_counts"], 0.99),
        "p50_ms": kept_ms(before["late_counts"], after["late_counts"], 0.5),
        "worst_window_p99_ms": round(max(late_p99_ms), 3),
        "median_window_p99_ms": round(percentile(late_p99_ms, 0.5), 3),
        "later_than_10_ms": after["late"] - before["late"],
        "missed": after["missed"] - before["missed"],
        "empty": after["empty"] - before["empty"],
        "ticks": after["actions"] - before["actions"],
    }
    report("tick_jitter", figures, {"empty_thread_p99_ms": quiet.p99_ms}, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
