"""The inference of a slot, with how long it took: the same path as the gate's, timed cycle by cycle."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import numpy as np

from model_registry.core.contract import Contract
from stack.engine.inference import Inference
from stack.engine.observing import Answer, Frame, LaserScan, Observation, Tensor
from stack.engine.wiring import Wired
from stack.policy.counts import Counts

WARM_UP_RUNS = 30
WARM_UP_LEAST = 10
WARM_UP_S = 5.0
_KEPT_TIMES = 200


class TimedInference:
    """Owns an inference. One thread calls it at a time; the times may be read by others.

    Who receives a frame may make its tensor with `image`, and notes in `prepared` how long that took (ms); nobody may
    while this is called.
    """

    def __init__(self, model: Path, contract: Contract, graphs: Wired, lidar_yaw: float = 0.0) -> None:
        self._inference = Inference(model, contract, graphs, lidar_yaw)
        self._times: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._overheads: deque[float] = deque(maxlen=_KEPT_TIMES)
        self.contract = contract
        self.overhead_counts = Counts()
        self.prepared: deque[float] = deque(maxlen=_KEPT_TIMES)
        self.identity = graphs.identity
        self.cache = self._inference.cache
        self.cycle_s = 0.0

    def __call__(self, seen: Observation) -> Answer:
        """Run once."""
        return self._inference(seen)

    def image(self, camera: str, frame: Frame) -> Tensor:
        """The tensor of a frame of a camera that is wanted one frame at a time; valid until the next call for it."""
        return self._inference.preparation.cameras[camera]((frame,))

    def moves(self, command: str) -> bool:
        """Whether these words may move the robot; a policy without words asks for none."""
        return self._inference.preparation.moves(command)

    def note(self, cycle_s: float) -> None:
        """Keep how long the cycle around the last call took, with everything in it."""
        self.cycle_s = cycle_s
        self._times.append(cycle_s * 1e3)
        overhead_ms = (cycle_s - self._inference.backend_s) * 1e3
        self._overheads.append(overhead_ms)
        self.overhead_counts.add(overhead_ms)

    def warm_up(self) -> float:
        """Run on an empty scene until first-run costs are paid, or for a few seconds.

        Returns the p99 in milliseconds.
        """
        nothing = empty(self.contract)
        end = time.monotonic() + WARM_UP_S
        for run in range(2 * WARM_UP_RUNS):
            start = time.monotonic()
            if run >= WARM_UP_LEAST and start > end:
                break
            self(nothing)
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
        """The same of what a cycle takes beside the graphs: our own part."""
        return percentiles(self._overheads)


def empty(contract: Contract) -> Observation:
    """A black, silent scene with everything that the contract wants."""
    recipes = contract.observation

    def black(width: int, height: int) -> Frame:
        return Frame(np.zeros((height, width, 3), dtype=np.uint8))

    frames = {
        name: (black(camera.width, camera.height),) * len(camera.frames) for name, camera in recipes.cameras.items()
    }
    goal = None if recipes.goal is None else black(recipes.goal.width, recipes.goal.height)
    state = recipes.state
    numbers = None if state is None else np.zeros((len(state.frames), len(state.keys)), np.float32)
    beams = np.full(360, np.inf, dtype=np.float32)
    scan = None if recipes.lidar is None else LaserScan(0, -np.pi, 2 * np.pi / 360, 0.05, 12.0, beams)
    return Observation(frames=frames, goal=goal, state=numbers, scan=scan)


def percentiles(kept: deque[float]) -> tuple[float | None, float | None]:
    """p50 and p99; None of nothing."""
    times = list(kept)
    p50, p99 = np.percentile(times, (50, 99)).tolist() if times else (None, None)
    return p50, p99
