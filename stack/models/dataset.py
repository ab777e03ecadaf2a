"""Frames with the teacher's answer to every command, collected where the learner goes (DAgger).

A frame is rendered once and labelled for all commands, so one drive teaches the whole language.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stack.models import expert
from stack.models.commands import COMMANDS
from stack.models.package import IMAGE_SIZE, SECTORS
from stack.models.pilot import sectors
from stack.sim.scenario import advance
from stack.sim.scene import COLORS, build
from stack.sim.senses import Sensed, Senses
from stack.sim.world import World

Actor = Callable[[list[Sensed], list[int]], NDArray[np.float32]]
"""(observations, command numbers) -> real action chunks [n, steps, 2]."""

EPISODE_CHUNKS = 40


class Frames(NamedTuple):
    """`images` uint8 [N, 112, 112, 3] RGB, `lidars` float32 [N, 90], `actions` float32 [N, commands, steps, 2] in real
    units.
    """

    images: NDArray[np.uint8]
    lidars: NDArray[np.float32]
    actions: NDArray[np.float32]


def collect(count: int, rng: np.random.Generator, style: expert.Style, actor: Actor | None, robots: int = 24) -> Frames:
    """Collect `count` frames (rounded down to whole rounds of `robots`), driven by `actor`, or by the teacher when
    None.
    """
    rows = max(1, count // robots) * robots
    images = np.empty((rows, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    lidars = np.empty((rows, SECTORS), dtype=np.float32)
    actions = np.empty((rows, len(COMMANDS), expert.STEPS, 2), dtype=np.float32)
    drivers = [_Driver(rng) for _ in range(robots)]
    for start in range(0, rows, robots):
        seen = [driver.observe() for driver in drivers]
        for row, (driver, observation) in enumerate(zip(drivers, seen, strict=True), start):
            cv2.resize(observation.rgb, (IMAGE_SIZE, IMAGE_SIZE), dst=images[row], interpolation=cv2.INTER_AREA)
            lidars[row] = sectors(observation.ranges)[0]
            actions[row] = [expert.chunk(driver.world.scene, command, style) for command in COMMANDS]
        commands = [driver.command for driver in drivers]
        chunks = actor(seen, commands) if actor else actions[np.arange(start, start + robots), commands]
        for driver, chunk in zip(drivers, chunks, strict=True):
            driver.move(chunk)
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
        choices = len(COLORS) if self._rng.random() < 0.85 else len(COMMANDS) - 2
        self.command = int(self._rng.integers(choices))
        self._left = EPISODE_CHUNKS

    def observe(self) -> Sensed:
        return self._senses.observe(self.world)

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
