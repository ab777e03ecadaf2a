"""One observation in, one action chunk in units out: preprocessing, backend, normalisation."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from stack.engine.backends import Backend, Tensor
from stack.engine.normalization import Normalization
from stack.policy.cdr import Scan
from stack.policy.inputs import ImagePreprocessor, lidar_sectors
from stack.policy.tokenizer import CommandTokenizer

WARM_UP_RUNS = 30
_KEPT_TIMES = 200


class Inference:
    """Owns the backend and every buffer. One thread calls it at a time; the times may be read by others."""

    def __init__(self, model: Path, contract: Contract, backend: Backend) -> None:
        cv2.setNumThreads(1)  # one small frame: a second thread would only be woken for nothing
        image = contract.image
        self._contract, self._backend = contract, backend
        self._units = Normalization.load(model, contract)
        self._image = ImagePreprocessor(image.width, image.height, image.mean, image.std)
        self._names = {item.semantic: item.name for item in contract.inputs}
        self._times: deque[float] = deque(maxlen=_KEPT_TIMES)
        self.identity = backend.identity
        self.tokenizer = CommandTokenizer(model / contract.tokenizer, contract.token_length)
        self.needs_scan = "lidar" in self._names
        self.count = 0

    def __call__(self, rgb: NDArray[np.uint8], scan: Scan | None, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """uint8 [H, W, 3], a scan and int64 [1, length] -> float32 [horizon, dims] in units; not checked to be finite."""
        start = time.monotonic()
        inputs: dict[str, Tensor] = {self._names["image"]: self._image(rgb), self._names["text"]: tokens}
        if scan is not None and self.needs_scan:
            angles, limits = (scan.angle_min, scan.angle_increment), (scan.range_min, scan.range_max)
            size = self._contract.lidar_sectors, self._contract.lidar_max_range_m
            inputs[self._names["lidar"]], _ = lidar_sectors(scan.ranges, *angles, *limits, *size)
        actions = self._units.actions(self._backend.infer(inputs))
        self._times.append((time.monotonic() - start) * 1e3)
        self.count += 1
        return actions

    def warm_up(self) -> float:
        """Run on an empty scene until first-run costs are paid. Returns the p99 in milliseconds."""
        image = self._contract.image
        frame: NDArray[np.uint8] = np.zeros((image.height, image.width, 3), dtype=np.uint8)
        beams: NDArray[np.float32] = np.full(360, np.inf, dtype=np.float32)
        scan = Scan(0, -np.pi, 2 * np.pi / 360, 0.05, 12.0, beams)
        tokens: NDArray[np.int64] = np.zeros((1, self._contract.token_length), dtype=np.int64)
        for run in range(2 * WARM_UP_RUNS):
            if run == WARM_UP_RUNS:
                self._times.clear()
            self(frame, scan, tokens)
        self.count = 0
        return float(np.percentile(list(self._times), 99))

    def percentiles(self) -> tuple[float | None, float | None]:
        """p50 and p99 in milliseconds of the newest runs; None before the first."""
        times = list(self._times)
        p50, p99 = np.percentile(times, (50, 99)).tolist() if times else (None, None)
        return p50, p99
