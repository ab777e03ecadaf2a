"""Run a world with a policy faster than real time: what training, evaluation and tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stack.sim import lidar
from stack.sim.camera import Camera
from stack.sim.scene import Pose, color_in, polar
from stack.sim.world import World

CONTROL_HZ = 20
SUBSTEPS = 2
ARRIVED_GAP_M = 0.75  # robot centre to pillar surface
ARRIVED_SPEED_MPS = 0.08
HELD_STEPS = 10


@dataclass(frozen=True, slots=True)
class Observation:
    """What the robot senses at one moment: `rgb` uint8 [240, 320, 3], `ranges` float32 [360] in metres."""

    rgb: NDArray[np.uint8]
    ranges: NDArray[np.float32]


Policy = Callable[[Observation, str], NDArray[np.float32]]
"""(observation, command text) -> actions [steps, 2] in m/s and rad/s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `path` holds the pose and `actions` the commanded speeds of every control step."""

    arrived: bool
    contacts: int
    seconds: float
    path: tuple[Pose, ...]
    actions: NDArray[np.float32]


class Senses:
    """Camera and lidar with a noise source of their own."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.camera = Camera(self._rng)

    def observe(self, world: World) -> Observation:
        return Observation(self.camera.render(world), lidar.scan(world, self._rng))


def has_arrived(world: World, text: str) -> bool:
    """Whether the robot stands before the pillar that `text` names."""
    color = color_in(text)
    target = world.scene.pillar(color) if color else None
    if target is None:
        return False
    return polar(world.pose, target)[0] - target.radius <= ARRIVED_GAP_M and abs(world.linear) <= ARRIVED_SPEED_MPS


def drive(world: World, policy: Policy, text: str, seconds: float, *, execute_steps: int = 4, seed: int = 0) -> Outcome:
    """Let `policy` drive for `seconds`, or until it has stood before the named pillar for half a second.

    `execute_steps` actions of each chunk are used before the policy is asked again.
    """
    senses = Senses(seed)
    path: list[Pose] = []
    actions: list[NDArray[np.float32]] = []
    chunk = np.zeros((1, 2), dtype=np.float32)
    held = 0
    for step in range(round(seconds * CONTROL_HZ)):
        if step % execute_steps == 0:
            chunk = policy(senses.observe(world), text)
        action = chunk[min(step % execute_steps, len(chunk) - 1)]
        advance(world, float(action[0]), float(action[1]))
        path.append(world.pose)
        actions.append(action)
        held = held + 1 if has_arrived(world, text) else 0
        if held >= HELD_STEPS:
            break
    return Outcome(held >= HELD_STEPS, world.contacts, len(path) / CONTROL_HZ, tuple(path), np.array(actions))


def advance(world: World, linear: float, angular: float) -> None:
    """One control period with one command (m/s, rad/s)."""
    world.command(linear, angular)
    for _ in range(SUBSTEPS):
        world.step(1.0 / CONTROL_HZ / SUBSTEPS)
