"""A packaged model as a callable policy, through the preprocessing and the ONNX Runtime that robots use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stack.models.package import CONTRACT, DIMENSIONS, GRAPH, MAX_RANGE_M, NORMALIZATION, SECTORS
from stack.policy.inputs import ImagePreprocessor, lidar_sectors
from stack.sim.senses import ANGLE_INCREMENT, ANGLE_MIN, RANGE_MAX_M, RANGE_MIN_M, Sensed


def encode(tokenizer: Tokenizer, text: str, length: int) -> NDArray[np.int64]:
    """Token numbers int64 [1, length], cut or padded with 0."""
    numbers = tokenizer.encode(text).ids[:length]
    return np.array([numbers + [0] * (length - len(numbers))], dtype=np.int64)


def sectors(ranges: NDArray[np.float32], count: int = SECTORS, limit_m: float = MAX_RANGE_M) -> NDArray[np.float32]:
    """The lidar input [1, count] for the simulated scanner's ranges."""
    return lidar_sectors(ranges, ANGLE_MIN, ANGLE_INCREMENT, RANGE_MIN_M, RANGE_MAX_M, count, limit_m)[0]


class Pilot:
    """Call it with an observation and a command to get real actions [steps, 2] in m/s and rad/s."""

    def __init__(self, folder: Path) -> None:
        contract = json.loads((folder / CONTRACT).read_bytes())
        image, lidar = (contract["preprocess"][key] for key in ("image", "lidar"))
        tokenizer = contract["tokenizer"]
        self._image = ImagePreprocessor(image["width"], image["height"], image["mean"], image["std"])
        self._lidar = lidar["sectors"], lidar["max_range_m"]
        self._tokenizer = Tokenizer.from_file(str(folder / tokenizer["path"]))
        self._length = tokenizer["length"]
        stats = json.loads((folder / NORMALIZATION).read_bytes())["action"]
        self._mean, self._std = (
            np.array([stats[name][key] for name, _ in DIMENSIONS], dtype=np.float32) for key in ("mean", "std")
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])

    def __call__(self, observation: Sensed, text: str) -> NDArray[np.float32]:
        return self.run(*self.inputs(observation, text))

    def inputs(
        self, observation: Sensed, text: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Image [1,3,h,w] (valid until the next call), tokens [1,10] and lidar [1,90]."""
        tokens = encode(self._tokenizer, text, self._length)
        return self._image(observation.rgb), tokens, sectors(observation.ranges, *self._lidar)

    def run(
        self, image: NDArray[np.float32], tokens: NDArray[np.int64], lidar: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Real actions [steps, 2] from network inputs."""
        output = self._session.run(["action"], {"image": image, "tokens": tokens, "lidar": lidar})[0]
        return np.asarray(output[0] * self._std + self._mean, dtype=np.float32)
