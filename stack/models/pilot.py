"""A packaged model as a callable policy, through the preprocessing and the ONNX Runtime that robots use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stack.models.package import CONTRACT, DIMENSIONS, GRAPH, NORMALIZATION
from stack.policy.inputs import ImagePreprocessor, lidar_sectors
from stack.sim import lidar
from stack.sim.scenario import Observation


def encode(tokenizer: Tokenizer, text: str, length: int) -> NDArray[np.int64]:
    """Token numbers int64 [1, length], cut or padded with 0."""
    numbers = tokenizer.encode(text).ids[:length]
    return np.array([numbers + [0] * (length - len(numbers))], dtype=np.int64)


class Pilot:
    """Call it with an observation and a command to get real actions [steps, 2] in m/s and rad/s."""

    def __init__(self, folder: Path) -> None:
        self.contract = json.loads((folder / CONTRACT).read_bytes())
        image = self.contract["preprocess"]["image"]
        self._image = ImagePreprocessor(image["width"], image["height"], image["mean"], image["std"])
        self._sectors = self.contract["preprocess"]["lidar"]
        self._tokenizer = Tokenizer.from_file(str(folder / self.contract["tokenizer"]["path"]))
        stats = json.loads((folder / NORMALIZATION).read_bytes())["action"]
        self._mean = np.array([stats[name]["mean"] for name, _ in DIMENSIONS], dtype=np.float32)
        self._std = np.array([stats[name]["std"] for name, _ in DIMENSIONS], dtype=np.float32)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])

    def __call__(self, observation: Observation, text: str) -> NDArray[np.float32]:
        return self.run(*self.inputs(observation, text))

    def inputs(
        self, observation: Observation, text: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Image [1,3,h,w] (valid until the next call), tokens [1,10] and lidar [1,90]."""
        scan, _ = lidar_sectors(
            observation.ranges,
            lidar.ANGLE_MIN,
            lidar.ANGLE_INCREMENT,
            lidar.RANGE_MIN_M,
            lidar.RANGE_MAX_M,
            self._sectors["sectors"],
            self._sectors["max_range_m"],
        )
        tokens = encode(self._tokenizer, text, self.contract["tokenizer"]["length"])
        return self._image(observation.rgb), tokens, scan

    def run(
        self, image: NDArray[np.float32], tokens: NDArray[np.int64], scan: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Real actions [steps, 2] from network inputs."""
        output = self._session.run(["action"], {"image": image, "tokens": tokens, "lidar": scan})[0]
        return np.asarray(output[0] * self._std + self._mean, dtype=np.float32)
