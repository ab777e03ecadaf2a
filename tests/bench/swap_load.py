"""What loading and warming a second slot does to the one that drives: missed and empty ticks, and its p99 against its
budget.

The driving slot is measured twice with nothing beside it (A/A), then while the other one is started and ended over and
over.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.bench.harness import FULL, noise, report
from tests.fakes.ros import REPOSITORY, wait_until
from tests.testbed.slot_bed import SlotBed

MODEL = REPOSITORY / "stack/models/reference/pilot-1.0.0"
BUDGET_MS = 25.0
SWAPS = 20 if FULL else 4
CYCLES = 200


def swap(bed: SlotBed) -> dict[str, Any]:
    """Start slot b, let it load, warm up and run for a while, and end it; the driving slot's status then."""
    with bed.other() as other:
        wait_until(lambda: other.status().get("state") == "ready", 60.0, "slot b to be ready")
        return bed.wait_cycles(CYCLES)


def main() -> int:
    with noise() as quiet, SlotBed(MODEL, "resource_optimized", budget_ms=BUDGET_MS) as bed:
        bed.wait_driving()
        bed.wait_cycles(CYCLES)
        alone = [bed.wait_cycles(CYCLES)["inference_p99_ms"] for _ in range(2)]
        before = bed.status()
        seen = [swap(bed) for _ in range(SWAPS)]
    missed = [seen[-1][key] - before[key] for key in ("missed", "empty")]
    figures = {
        "missed": sum(missed),
        "p99_ms": round(max(s["inference_p99_ms"] for s in seen), 3),
        "budget_ms": BUDGET_MS,
        "late_p99_ms": round(max(s["late_p99_ms"] for s in seen), 3),
        "swaps": SWAPS,
    }
    baselines = {"alone_p99_ms": [round(each, 3) for each in alone]}
    report("swap_load", figures, baselines, quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
