"""What a robot touches whose policy always asks for full speed: ahead, on arcs, turning this way and that, at poles.

Seeds make up rooms with walls and poles of 5 to 50 mm radius, bodies, and scanners of 90 to 1,440 beams that see 180 to
360 degrees from 0.05 to 0.45 m on (tests/testbed/driving.py). `contacts` counts what stands and what a beam has met
before; a pole that no beam has ever met is `never_seen`. `refused` are robots that were not armed, because their
scanner sees too little next to the body. `crossing` is told apart: something as thick as a leg walks through the way
at 0.3 to 0.7 m/s. Baseline: the same robots and rooms without a supervisor.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from tests.bench.harness import FULL, Trials
from tests.testbed.driving import POLICIES, drive, scene

RUNS = (34 if FULL else 3) * len(POLICIES)
CROSSING = (12 if FULL else 1) * len(POLICIES)
_STANDING_SPEED = 0.02


def standing(runs: list[dict[str, Any]]) -> dict[str, object]:
    """The figures of runs among things that stand."""
    driven = [run for run in runs if not run["refused"]]
    gaps = [run["least_m"] for run in driven if run["touched"] != "never seen"]
    return {
        "runs": len(driven),
        "contacts": sum(run["touched"] == "standing" for run in driven),
        "least_margin_m": round(min(gaps), 3),
        "never_seen": sum(run["touched"] == "never seen" for run in driven),
        "refused": len(runs) - len(driven),
        "way_m": round(sum(run["way_m"] for run in driven)),
    }


def crossed(runs: list[dict[str, Any]]) -> dict[str, object]:
    """The figures of runs that something crosses."""
    driven = [run for run in runs if not run["refused"]]
    touched = [run for run in driven if run["touched"] == "crossing"]
    return {
        "runs": len(driven),
        "touched": len(touched),
        "touched_while_it_moved": sum(run["speed"] > _STANDING_SPEED for run in touched),
        "contacts": sum(run["touched"] == "standing" for run in driven),
    }


def main() -> int:
    trials = Trials("contacts")
    with trials.noise():
        guarded = trials.run("guarded", RUNS, lambda seed: asdict(drive(scene(seed))))
        crossing = trials.run("crossing", CROSSING, lambda seed: asdict(drive(scene(seed, crossing=True))))
        unguarded = trials.run("unguarded", RUNS, lambda seed: asdict(drive(scene(seed), guarded=False)))
    figures: dict[str, object] = {"contacts": standing(guarded), "crossing": crossed(crossing)}
    trials.report(figures, {"without_supervisor": standing(unguarded)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
