"""A packaged model as a callable policy in the simulator, through the same code as on a robot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_registry.core.contract import Contract
from stack.engine.lidar import lidar_sectors
from stack.engine.observing import Frame, LaserScan, Observation, Steps
from stack.engine.packed import packed
from stack.models.package import CAMERA, MAX_RANGE_M, SECTORS
from stack.sim.senses import ANGLE_INCREMENT, ANGLE_MIN, RANGE_MAX_M, RANGE_MIN_M, Sensed


def encode(tokenizer: Tokenizer, text: str, length: int) -> NDArray[np.int64]:
    """Token numbers int64 [1, length], cut or padded with 0."""
    numbers = tokenizer.encode(text).ids[:length]
    return np.array([numbers + [0] * (length - len(numbers))], dtype=np.int64)


def sectors(ranges: NDArray[np.float32], count: int = SECTORS, limit_m: float = MAX_RANGE_M) -> NDArray[np.float32]:
    """The lidar input [1, count] for the simulated scanner's ranges."""
    return lidar_sectors(ranges, ANGLE_MIN, ANGLE_INCREMENT, RANGE_MIN_M, RANGE_MAX_M, count, limit_m)[0]


def seen(sensed: Sensed, text: str) -> Observation:
    """What the simulated robot senses, and a command, as a model's contract names them."""
    scan = LaserScan(0, ANGLE_MIN, ANGLE_INCREMENT, RANGE_MIN_M, RANGE_MAX_M, sensed.ranges)
    return Observation(frames={CAMERA: (Frame(sensed.rgb),)}, scan=scan, text=text)


class Pilot:
    """Call it with what is sensed and a command to get real actions [steps, 2] in m/s and rad/s."""

    def __init__(self, folder: Path) -> None:
        self.contract = Contract.load(folder)
        self.inference = packed(folder, self.contract)

    def __call__(self, sensed: Sensed, text: str) -> Steps:
        return self.run(seen(sensed, text))

    def run(self, observation: Observation) -> Steps:
        """Real actions [steps, 2] of an observation."""
        return self.inference(observation).actions
