"""Deployments and rollbacks of a stand-in robot, ended at random moments by SIGKILL or a power cut; 1,000 with FULL=1. Argument: a seed, which replays.

Each interrupt picks a stage in turn, and any step of the agent in it (a write, rename, sync, a word to supervisor or runtime); a power cut leaves any one
of the states that are allowed then. *Bricks* come back on nothing, *mixed* on something else than the old or the new release, alone and verified.
Baseline: OSTree's destructive test, 10 interrupts a run.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from stack.agent.journal import STAGES, STAGING
from tests.bench.harness import FULL, noise, report
from tests.fakes.stand_in import StandIn
from tests.testbed.edges import Outcome, Range

RUNS = 1000 if FULL else 75
OFTEN = {
    "ROLLBACK": ("bad",),
    "FAILED": ("bad",),
    "PROBATION": ("switch", "bad"),
    "VERIFY_ROLLBACK": ("bad", "rollback"),
}


def scenarios(stage: str) -> tuple[str, ...]:
    """In which changes a stage occurs."""
    return OFTEN.get(stage) or (("stage",) if stage in STAGING else ("switch", "rollback"))


def main(words: list[str]) -> int:
    seed = int(words[0]) if words else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    chance, began = random.Random(seed), time.monotonic()
    outcomes: list[Outcome] = []
    with noise() as quiet, tempfile.TemporaryDirectory() as folder, StandIn(Path(folder)) as robot:
        robot.prepare()
        played = Range(robot)
        for number in range(RUNS):
            stage = tuple(STAGES)[number % len(STAGES)]
            outcome = played.interrupt(chance.choice(scenarios(stage)), stage, chance)
            outcomes.append(outcome)
            if outcome.wrong:
                print(f"run {number}, {outcome.point}: {'; '.join(outcome.wrong)}", flush=True)
    bricks = sum(outcome.brick for outcome in outcomes)
    figures = {
        "runs": len(outcomes),
        "bricks": bricks,
        "mixed": sum(bool(outcome.wrong) for outcome in outcomes) - bricks,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
    }
    fired = Counter(outcome.point.edge.partition(":")[0] for outcome in outcomes if outcome.fired)
    shares = {stage: round(fired[stage] / len(outcomes), 3) for stage in STAGES}
    kinds = dict(Counter(outcome.point.fault for outcome in outcomes if outcome.fired))
    print(f"share of interrupts by stage: {shares}", flush=True)
    found = {"random_interrupts": figures, "share_by_stage": shares, "by_kind": kinds}
    report("random_interrupts", found, {"ostree_interrupts_a_run": 10}, quiet)
    return int(any(outcome.wrong for outcome in outcomes) or min(shares.values()) < 0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
