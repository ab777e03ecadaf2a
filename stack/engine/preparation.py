"""From one observation to the tensors that a model's graphs read, by the recipes of its contract.

Gate, slot, `homeport model check`, evaluation and training all prepare here: what is proved is what runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError
from stack.engine.images import ImagePreprocessor
from stack.engine.lidar import lidar_sectors
from stack.engine.noise import noise
from stack.engine.observing import Frame, LaserScan, Observation, Steps, Tensor
from stack.engine.statistics import Statistics
from stack.engine.words import CommandTokenizer

T = TypeVar("T")

_CAMERA = "cameras."
_NEEDED = "the model's contract wants it, give it one"


class Preparation:
    """Owns the buffers of all tensors: what it returns is valid until the next call. One thread calls it at a time.

    `lidar_yaw` is how the scanner is turned on the body, rad to the left: networks are shown the body's directions.
    """

    def __init__(self, model: Path, contract: Contract, lidar_yaw: float = 0.0) -> None:
        cv2.setNumThreads(1)  # one small frame: a second thread would only be woken for nothing
        recipes = contract.observation
        sources = contract.sources
        self._recipes = recipes
        self._yaw = lidar_yaw
        self.statistics = Statistics.load(model, contract)
        self.cameras = {name: ImagePreprocessor(recipe) for name, recipe in recipes.cameras.items()}
        self._goal = None if recipes.goal is None else ImagePreprocessor(recipes.goal)
        self.tokenizer = (
            None if recipes.text is None else CommandTokenizer(model / recipes.text.tokenizer, recipes.text)
        )
        self._buffers = {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in sources.items()}
        self._scan: LaserScan | None = None

    def __call__(self, seen: Observation) -> dict[str, Tensor]:
        """The tensor of every source of the contract. Raises IncompatibleError for an observation that lacks one."""
        tensors: dict[str, Tensor] = {}
        for name, camera in self.cameras.items():
            ready = seen.tensors.get(name)
            tensors[_CAMERA + name] = camera(_frames(seen, name)) if ready is None else ready
        if self._goal is not None:
            tensors["goal"] = self._goal((_there(seen.goal, "goal"),))
        if self._recipes.state is not None:
            tensors["state"] = self._state(_there(seen.state, "state"))
        if self.tokenizer is not None:
            tokens = self.tokenizer(seen.text)
            tensors["text"] = tokens.numbers
            if tokens.mask is not None:
                tensors["text.mask"] = tokens.mask
        if self._recipes.lidar is not None:
            tensors["lidar"] = self._sectors(_there(seen.scan, "lidar"))
        return tensors | self._others(seen)

    def moves(self, command: str) -> bool:
        """Whether these words may move the robot; a policy without words asks for none."""
        return self.tokenizer is None or self.tokenizer.moves(command)

    def _state(self, numbers: NDArray[np.float32]) -> Tensor:
        buffer = self._buffers["state"]
        rows = buffer.reshape(-1, buffer.shape[-1])
        assert self._recipes.state is not None and self.statistics.state is not None
        width = len(self._recipes.state.keys)
        rows[:, :width] = self.statistics.state.to_network(numbers.reshape(-1, width))
        return buffer

    def _sectors(self, scan: LaserScan) -> Tensor:
        """Made once a scan: a laser is slower than a camera."""
        recipe = self._recipes.lidar
        assert recipe is not None
        if scan is not self._scan:
            angles = (scan.angle_min + self._yaw, scan.angle_increment)
            limits = (scan.range_min, scan.range_max)
            self._scan = scan
            self._buffers["lidar"], _ = lidar_sectors(scan.ranges, *angles, *limits, recipe.sectors, recipe.max_range_m)
        return self._buffers["lidar"]

    def _others(self, seen: Observation) -> dict[str, Tensor]:
        """Noise, prefix and delay."""
        found: dict[str, Tensor] = {}
        if self._recipes.noise is not None:
            np.copyto(
                self._buffers["noise"],
                noise(seen.seed, seen.number, self._recipes.noise.shape),
                casting="same_kind",
            )
            found["noise"] = self._buffers["noise"]
        if self._recipes.prefix:
            found["prefix"] = self._prefix(seen.ahead)
        if self._recipes.delay:
            self._buffers["delay"][0] = seen.delay
            found["delay"] = self._buffers["delay"]
        return found

    def _prefix(self, ahead: Steps | None) -> Tensor:
        buffer = self._buffers["prefix"]
        buffer[...] = 0.0
        if ahead is not None:
            count = min(len(ahead), buffer.shape[1])
            buffer[0, :count] = self.statistics.action.to_network(ahead[:count])
        return buffer


def _frames(seen: Observation, name: str) -> tuple[Frame, ...]:
    if name not in seen.frames:
        raise IncompatibleError(f"observation: no frame of camera {name!r}; {_NEEDED}")
    return tuple(seen.frames[name])


def _there(value: T | None, name: str) -> T:
    if value is None:
        raise IncompatibleError(f"observation: no {name}; {_NEEDED}")
    return value
