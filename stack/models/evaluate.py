"""Measure a packaged model in closed loop on layouts that training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stack.models.pilot import Pilot
from stack.sim.scenario import drive
from stack.sim.scene import COLORS, build
from stack.sim.world import World

HELD_OUT_SEED = 900_000
SECONDS = 40.0
COMMAND_SECONDS = 3.0
STANDING = 0.02  # m/s and rad/s
CIRCLE_LINEAR_MPS, CIRCLE_ANGULAR_RPS = 0.2, 0.3


@dataclass(frozen=True, slots=True)
class Report:
    """Shares of `layouts` held-out layouts."""

    layouts: int
    execute_steps: int
    arrived: float
    touched: float
    mean_seconds: float
    stands: float
    circles_left: float
    circles_right: float


def evaluate(folder: Path, layouts: int = 100, execute_steps: int = 4) -> Report:
    """Drive `layouts` random layouts to a pillar each, and give every other command for 3 s in each."""
    pilot = Pilot(folder)
    runs = []
    stands = left = right = 0
    for number in range(layouts):
        seed = HELD_OUT_SEED + number
        text = f"go to the {COLORS[number % len(COLORS)]} pillar"
        runs.append(drive(_world(seed), pilot, text, SECONDS, execute_steps=execute_steps, seed=seed))
        stop, to_left, to_right = (
            drive(_world(seed), pilot, command, COMMAND_SECONDS, seed=seed).actions
            for command in ("stop", "turn left", "turn right")
        )
        stands += bool(np.abs(stop).max() < STANDING)
        left += bool(to_left[:, 0].min() >= CIRCLE_LINEAR_MPS and to_left[:, 1].min() > CIRCLE_ANGULAR_RPS)
        right += bool(to_right[:, 0].min() >= CIRCLE_LINEAR_MPS and to_right[:, 1].max() < -CIRCLE_ANGULAR_RPS)
    good = [run for run in runs if run.arrived and run.contacts == 0]
    return Report(
        layouts=layouts,
        execute_steps=execute_steps,
        arrived=len(good) / layouts,
        touched=sum(run.contacts > 0 for run in runs) / layouts,
        mean_seconds=float(np.mean([run.seconds for run in good])) if good else float("nan"),
        stands=stands / layouts,
        circles_left=left / layouts,
        circles_right=right / layouts,
    )


def _world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    return World(build("random", rng), rng)
