"""Run a world with a policy faster than real time: what training, evaluation and tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stack.sim.scene import ScenePose, color_in, polar
from stack.sim.senses import Sensed, Senses
from stack.sim.world import World

CONTROL_HZ = 20
SUBSTEPS = 2
ARRIVED_GAP_M = 0.75  # robot centre to pillar surface
ARRIVED_SPEED_MPS = 0.08
HELD_STEPS = 10

Policy = Callable[[Sensed, str], NDArray[np.float32]]
"""(observation, command text) -> actions [steps, 2] in m/s and rad/s."""


class Outcome(NamedTuple):
    """How a run ended; `path` holds the pose and `actions` the commanded speeds of every control step."""

    arrived: bool
    contacts: int
    seconds: float
    path: list[ScenePose]
    actions: NDArray[np.float32]


def drive(world: World, policy: Policy, text: str, seconds: float, *, execute_steps: int = 4, seed: int = 0) -> Outcome:
    """Let `policy` drive for `seconds`, or until it has stood before the named pillar for half a second.

    `execute_steps` actions of each chunk are used before the policy is asked again.
    """
    senses = Senses(seed)
    color = color_in(text)
    path: list[ScenePose] = []
    actions: list[NDArray[np.float32]] = []
    held = 0
    while len(path) < round(seconds * CONTROL_HZ) and held < HELD_STEPS:
        step = len(path) % execute_steps
        if step == 0:
            chunk = policy(senses.observe(world), text)
        actions.append(chunk[min(step, len(chunk) - 1)])
        advance(world, float(actions[-1][0]), float(actions[-1][1]))
        path.append(world.pose)
        held = held + 1 if _has_arrived(world, color) else 0
    return Outcome(held >= HELD_STEPS, world.contacts, len(path) / CONTROL_HZ, path, np.array(actions))


def _has_arrived(world: World, color: str | None) -> bool:
    """Whether the robot stands before the pillar of this colour."""
    target = world.scene.pillar(color)
    near = target is not None and polar(world.pose, target)[0] - target.radius <= ARRIVED_GAP_M
    return near and abs(world.linear) <= ARRIVED_SPEED_MPS


def advance(world: World, linear: float, angular: float) -> None:
    """One control period with one command (m/s, rad/s)."""
    world.command(linear, angular)
    for _ in range(SUBSTEPS):
        world.step(1.0 / CONTROL_HZ / SUBSTEPS)
