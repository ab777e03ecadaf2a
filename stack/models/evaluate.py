"""Measure a packaged model in closed loop on layouts that training never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stack.models.pilot import Pilot
from stack.sim.scenario import drive
from stack.sim.scene import COLORS, build
from stack.sim.world import World

HELD_OUT_SEED = 900_000
SECONDS = 40.0
COMMAND_SECONDS = 3.0
STANDING = 0.02  # m/s and rad/s
CIRCLE_LINEAR_MPS = 0.2
CIRCLE_ANGULAR_RPS = 0.3


def evaluate(folder: Path, layouts: int = 100, execute_steps: int = 4) -> dict[str, float]:
    """Drive `layouts` random layouts to a pillar each, and give every other command for 3 s in each; shares of the
    layouts.
    """
    pilot = Pilot(folder)
    runs = []
    stands = 0
    lefts = 0
    rights = 0
    for number in range(layouts):
        seed = HELD_OUT_SEED + number
        text = f"go to the {COLORS[number % len(COLORS)]} pillar"
        runs.append(drive(_world(seed), pilot, text, SECONDS, execute_steps=execute_steps, seed=seed))
        stop, left, right = (
            drive(_world(seed), pilot, command, COMMAND_SECONDS, seed=seed).actions
            for command in ("stop", "turn left", "turn right")
        )
        stands += bool(np.abs(stop).max() < STANDING)
        lefts += _circles(left, 1)
        rights += _circles(right, -1)
    good = [run for run in runs if run.arrived and run.contacts == 0]
    return {
        "layouts": layouts,
        "execute_steps": execute_steps,
        "arrived": len(good) / layouts,
        "touched": sum(run.contacts > 0 for run in runs) / layouts,
        "mean_seconds": float(np.mean([run.seconds for run in good])) if good else float("nan"),
        "stands": stands / layouts,
        "circles_left": lefts / layouts,
        "circles_right": rights / layouts,
    }


def _circles(actions: NDArray[np.float32], sign: int) -> bool:
    return bool(actions[:, 0].min() >= CIRCLE_LINEAR_MPS and (sign * actions[:, 1]).min() > CIRCLE_ANGULAR_RPS)


def _world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    return World(build("random", rng), rng)
