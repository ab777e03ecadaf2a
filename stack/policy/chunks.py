"""What is left of the newest action chunk at any moment. A chunk starts when its inputs arrived, and after its last step it is void.

Pure: every time is given in monotonic seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Chunk:
    """Actions float32 [steps, dims] in units, made from a frame that arrived at `observed_at` (monotonic s).

    `stamp_ns` is the ROS stamp of the oldest input. `generation` rises whenever the robot had no command that moves it.
    """

    actions: NDArray[np.float32]
    observed_at: float
    stamp_ns: int
    generation: int


class Chunks:
    """Keeps the newest chunk. One thread calls `put`, others `rest`: the chunk is replaced in one step."""

    def __init__(self, step_s: float, execute_steps: int, low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        self._step_s, self._steps = step_s, execute_steps
        self._low, self._high = low, high
        self._chunk: Chunk | None = None
        self.non_finite = 0
        self.clamped = 0

    def put(self, chunk: Chunk) -> None:
        """Take a new chunk, clamped to the contract's range. One that is not finite is counted and replaces the older one by nothing."""
        if not np.isfinite(chunk.actions).all():
            self.non_finite += 1
            self._chunk = None
            return
        actions = np.clip(chunk.actions[: self._steps], self._low, self._high)
        self.clamped += int(not np.array_equal(actions, chunk.actions[: self._steps]))
        self._chunk = replace(chunk, actions=actions)

    def rest(self, now: float, generation: int) -> Chunk | None:
        """The steps still to be executed at `now`, first one first; None when there are none, or they were for an older generation."""
        chunk = self._chunk
        if chunk is None or chunk.generation != generation:
            return None
        passed = max(0, math.floor((now - chunk.observed_at) / self._step_s))
        return replace(chunk, actions=chunk.actions[passed:]) if passed < len(chunk.actions) else None
