"""Frames with the teacher's answer to every command, collected where the learner goes (DAgger).

A frame is rendered once and labelled for all commands, so one drive teaches the whole language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stack.models import expert
from stack.models.commands import COMMANDS
from stack.models.shape import IMAGE_SIZE, MAX_RANGE_M, SECTORS
from stack.policy.inputs import lidar_sectors
from stack.sim import lidar
from stack.sim.scenario import Observation, Senses, advance
from stack.sim.scene import COLORS, build
from stack.sim.world import World

Actor = Callable[[list[Observation], list[int]], NDArray[np.float32]]
"""(observations, command numbers) -> real action chunks [n, steps, 2]."""

EPISODE_CHUNKS = 40


@dataclass(frozen=True, slots=True)
class Frames:
    """`images` uint8 [N, 112, 112, 3] RGB, `lidars` float32 [N, 90], `actions` float32 [N, commands, steps, 2] in real units."""

    images: NDArray[np.uint8]
    lidars: NDArray[np.float32]
    actions: NDArray[np.float32]


def sectors(ranges: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lidar input [1, 90] for the simulated scanner's ranges."""
    return lidar_sectors(
        ranges, lidar.ANGLE_MIN, lidar.ANGLE_INCREMENT, lidar.RANGE_MIN_M, lidar.RANGE_MAX_M, SECTORS, MAX_RANGE_M
    )[0]


def collect(count: int, rng: np.random.Generator, style: expert.Style, actor: Actor | None, robots: int = 24) -> Frames:
    """Collect `count` frames (rounded down to whole rounds of `robots`), driven by `actor`, or by the teacher when None."""
    ticks = max(1, count // robots)
    images = np.empty((ticks * robots, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    lidars = np.empty((ticks * robots, SECTORS), dtype=np.float32)
    actions = np.empty((ticks * robots, len(COMMANDS), expert.STEPS, 2), dtype=np.float32)
    drivers = [_Driver(rng) for _ in range(robots)]
    row = 0
    for _ in range(ticks):
        seen = [driver.observe() for driver in drivers]
        for driver, observation in zip(drivers, seen, strict=True):
            cv2.resize(observation.rgb, (IMAGE_SIZE, IMAGE_SIZE), dst=images[row], interpolation=cv2.INTER_AREA)
            lidars[row] = sectors(observation.ranges)[0]
            actions[row] = driver.labels(style)
            row += 1
        taught = actions[row - robots : row]
        chunks = actor(seen, [driver.command for driver in drivers]) if actor else None
        for index, driver in enumerate(drivers):
            driver.move(taught[index, driver.command] if chunks is None else chunks[index])
    return Frames(images, lidars, actions)


class _Driver:
    """One simulated robot with a command, moved to a new scene when its episode ends."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._senses = Senses(int(rng.integers(2**31)))
        self._restart()
        self._left = int(rng.integers(1, EPISODE_CHUNKS))

    def _restart(self) -> None:
        self.world = World(build("random", self._rng), self._rng)
        self.command = int(
            self._rng.integers(len(COLORS)) if self._rng.random() < 0.85 else self._rng.integers(len(COMMANDS) - 2)
        )
        self._left = EPISODE_CHUNKS

    def observe(self) -> Observation:
        return self._senses.observe(self.world)

    def labels(self, style: expert.Style) -> NDArray[np.float32]:
        return np.stack([expert.chunk(self.world.scene, self.world.circles, command, style) for command in COMMANDS])

    def move(self, chunk: NDArray[np.float32]) -> None:
        """Drive a random part of the chunk with noise that holds for the whole part."""
        linear, angular = self._rng.normal(0.0, (0.05, 0.25)) * (self._rng.random() < 0.5)
        for step in range(int(self._rng.integers(2, expert.STEPS + 1))):
            advance(self.world, float(chunk[step, 0] + linear), float(chunk[step, 1] + angular))
        self._left -= 1
        if self._rng.random() < 0.02:
            self.command = int(self._rng.integers(len(COLORS)))
        if self._left <= 0 or self.world.in_contact:
            self._restart()
