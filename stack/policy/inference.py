"""One observation in, one action chunk in units out: preprocessing, backend, normalisation."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from stack.engine.backends import Runner, Tensor
from stack.engine.cache import Cache
from stack.engine.normalization import Normalization
from stack.engine.split import Split
from stack.policy.cdr import Frame, LaserScan
from stack.policy.counts import Counts
from stack.policy.inputs import ImagePreprocessor, lidar_sectors
from stack.policy.tokenizer import CommandTokenizer

WARM_UP_RUNS = 30
WARM_UP_LEAST = 10
WARM_UP_S = 5.0
_KEPT_TIMES = 200

Steps = NDArray[np.float32]


class Observation(NamedTuple):
    """What one inference sees.

    `ahead` are the actions in units [n, dims] that were still to come when the frame arrived, and `delay` how many of
    them will probably have been executed when the new chunk is ready. `tensor` is the frame as the network wants it,
    where it is made.
    """

    frame: Frame
    scan: LaserScan | None
    text: str
    ahead: Steps | None = None
    delay: int = 0
    tensor: Tensor | None = None


class Answer(NamedTuple):
    """`actions` float32 [horizon, dims] in units, not checked to be finite.

    `advisory` is the lowest score of the steps, or None.
    """

    actions: Steps
    advisory: float | None


class Inference:
    """Owns the backend and every buffer. One thread calls it at a time; the times may be read by others.

    `lidar_yaw` is how the scanner is turned on the body, rad to the left: networks are shown the body's directions. Who
    receives a frame may make its tensor with `image`, and notes in `prepared` how long that took (ms); nobody may while
    this is called.
    """

    def __init__(self, model: Path, contract: Contract, backend: Runner, lidar_yaw: float = 0.0) -> None:
        cv2.setNumThreads(1)  # one small frame: a second thread would only be woken for nothing
        image = contract.image
        self._contract = contract
        self._backend = backend
        self._yaw = lidar_yaw
        self._units = Normalization.load(model, contract)
        self.image = ImagePreprocessor(image.width, image.height, image.mean, image.std, image.resize)
        self._names = {item.semantic: item.name for item in contract.inputs}
        shapes = {item.semantic: item.shape for item in contract.inputs}
        self._prefix: NDArray[np.float32] = np.zeros(shapes.get("prefix", (1, 0, len(contract.dims))), np.float32)
        self._delay: NDArray[np.int64] = np.zeros(1, np.int64)
        self._scan: LaserScan | None = None
        self._sectors: NDArray[np.float32] = np.zeros((1, contract.lidar_sectors), np.float32)
        self._nothing: NDArray[np.int64] = np.zeros((1, contract.token_length), np.int64)
        self._times: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._overheads: deque[float] = deque(maxlen=_KEPT_TIMES)
        self.overhead_counts = Counts()
        self.prepared: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._backend_s = 0.0
        self.identity = backend.identity
        self.tokenizer = CommandTokenizer(model / contract.tokenizer, contract.token_length)
        self.cache: Cache[Any, Any] = backend.cache if isinstance(backend, Split) else self.tokenizer.cache
        self.needs_scan = "lidar" in self._names
        self.cycle_s = 0.0

    def __call__(self, seen: Observation) -> Answer:
        """Run once."""
        inputs = self._inputs(seen)
        start = time.monotonic()
        output = self._backend.infer(inputs)
        self._backend_s = time.monotonic() - start
        score = float(output[0, :, -1].min()) if self._contract.advisory is not None else math.nan
        return Answer(self._units.actions(output), score if math.isfinite(score) else None)

    def _inputs(self, seen: Observation) -> dict[str, Tensor]:
        tokens = self.tokenizer(seen.text)
        inputs: dict[str, Tensor] = {
            self._names["image"]: self.image(*seen.frame) if seen.tensor is None else seen.tensor,
            self._names["text"]: self._nothing if tokens is None else tokens,
        }
        if seen.scan is not None and self.needs_scan:
            inputs[self._names["lidar"]] = self._sectors_of(seen.scan)
        if "prefix" in self._names:
            inputs[self._names["prefix"]] = self._prefix_of(seen.ahead)
        if "delay" in self._names:
            self._delay[0] = seen.delay
            inputs[self._names["delay"]] = self._delay
        return inputs

    def _sectors_of(self, scan: LaserScan) -> NDArray[np.float32]:
        """Made once a scan: a laser is slower than a camera."""
        if scan is not self._scan:
            angles = (scan.angle_min + self._yaw, scan.angle_increment)
            limits = (scan.range_min, scan.range_max)
            size = self._contract.lidar_sectors, self._contract.lidar_max_range_m
            self._scan = scan
            self._sectors, _ = lidar_sectors(scan.ranges, *angles, *limits, *size)
        return self._sectors

    def _prefix_of(self, ahead: Steps | None) -> Steps:
        self._prefix[:] = 0.0
        if ahead is not None:
            count = min(len(ahead), self._prefix.shape[1])
            self._prefix[0, :count] = (ahead[:count] - self._units.mean) / self._units.std
        return self._prefix

    def note(self, cycle_s: float) -> None:
        """Keep how long the cycle around the last call took, with everything in it."""
        self.cycle_s = cycle_s
        self._times.append(cycle_s * 1e3)
        overhead_ms = (cycle_s - self._backend_s) * 1e3
        self._overheads.append(overhead_ms)
        self.overhead_counts.add(overhead_ms)

    def warm_up(self) -> float:
        """Run on an empty scene until first-run costs are paid, or for a few seconds.

        Returns the p99 in milliseconds.
        """
        image = self._contract.image
        frame = Frame(np.zeros((image.height, image.width, 3), dtype=np.uint8))
        beams: NDArray[np.float32] = np.full(360, np.inf, dtype=np.float32)
        scan = LaserScan(0, -np.pi, 2 * np.pi / 360, 0.05, 12.0, beams)
        end = time.monotonic() + WARM_UP_S
        for run in range(2 * WARM_UP_RUNS):
            start = time.monotonic()
            if run >= WARM_UP_LEAST and start > end:
                break
            self(Observation(frame, scan, ""))
            self.note(time.monotonic() - start)
        kept = list(self._times)[run // 2 :]
        self._times.clear()
        self._times.extend(kept)
        self._overheads.clear()
        self.overhead_counts = Counts()
        return float(np.percentile(kept, 99))

    def percentiles(self) -> tuple[float | None, float | None]:
        """p50 and p99 in milliseconds of the newest cycles; None before the first."""
        return percentiles(self._times)

    def overhead(self) -> tuple[float | None, float | None]:
        """The same of what a cycle takes beside the backend: our own part."""
        return percentiles(self._overheads)


def percentiles(kept: deque[float]) -> tuple[float | None, float | None]:
    """p50 and p99; None of nothing."""
    times = list(kept)
    p50, p99 = np.percentile(times, (50, 99)).tolist() if times else (None, None)
    return p50, p99
