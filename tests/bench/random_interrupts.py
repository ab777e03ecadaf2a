"""Deployments and rollbacks of a stand-in robot, ended at random moments by SIGKILL or a power cut; 1,000 with FULL=1.

Argument: a seed, which replays.

Each interrupt picks a stage in turn, and any step of the agent in it (a write, rename, sync, a word to supervisor or
runtime); a power cut leaves any one of the states that are allowed then. *Bricks* come back on nothing, *mixed* on
something else than the old or the new release, alone and verified. Baseline: OSTree's destructive test, 10 interrupts a
run.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from stack.agent.disk.journal import STAGES, STAGING
from tests.bench.harness import FRESH, FULL, Trials
from tests.fakes.stand_in import StandIn
from tests.testbed.edges import Range

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


def interrupt(played: Range, seed: int, number: int) -> dict[str, Any]:
    """One of them; the seed and the number say which."""
    chance, stage = random.Random(f"{seed} {number}"), tuple(STAGES)[number % len(STAGES)]
    outcome = played.interrupt(chance.choice(scenarios(stage)), stage, chance)
    if outcome.wrong:
        print(f"run {number}, {outcome.point}: {'; '.join(outcome.wrong)}", flush=True)
    met = {"stage": outcome.point.edge.partition(":")[0], "fault": outcome.point.fault, "fired": outcome.fired}
    return {**met, "brick": outcome.brick, "wrong": outcome.wrong}


def main(words: list[str]) -> int:
    trials = Trials("random_interrupts", fresh=FRESH or bool(words))
    seed = trials.run("seed", 1, lambda _: int(words[0]) if words else random.SystemRandom().randrange(1 << 32))[0]
    print(f"seed {seed}", flush=True)
    with trials.noise(), tempfile.TemporaryDirectory() as folder, StandIn(Path(folder)) as robot:
        robot.prepare()
        played = Range(robot)
        outcomes = trials.run("interrupts", RUNS, lambda number: interrupt(played, seed, number))
    bricks = sum(outcome["brick"] for outcome in outcomes)
    mixed = sum(bool(outcome["wrong"]) for outcome in outcomes) - bricks
    figures = {"runs": len(outcomes), "bricks": bricks, "mixed": mixed, "seed": seed}
    fired = [outcome for outcome in outcomes if outcome["fired"]]
    stages = Counter(outcome["stage"] for outcome in fired)
    shares = {stage: round(stages[stage] / len(outcomes), 3) for stage in STAGES}
    kinds = dict(Counter(outcome["fault"] for outcome in fired))
    print(f"share of interrupts by stage: {shares}", flush=True)
    found = {"random_interrupts": figures, "share_by_stage": shares, "by_kind": kinds}
    trials.report(found, {"ostree_interrupts_a_run": 10})
    return int(any(outcome["wrong"] for outcome in outcomes) or min(shares.values()) < 0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
