"""What is left of the newest action chunk at any tick.

Its first step is for when its frame arrived, and after its last step it is void.

Where a new chunk goes on is decided by the steps that were really consumed since its frame arrived, not by the clock: a
tick that comes a little early or late neither repeats a step nor leaves one out. Pure: every time is given in monotonic
seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Chunk:
    """Actions float32 [steps, dims] in units, made from a frame that arrived at `observed_at` (monotonic s).

    `stamp_ns` is the ROS stamp of the oldest input, `start` how many steps had been consumed when the frame arrived.
    `generation` rises whenever the robot had no command that moves it. `advisory` is the model's own safety score of
    it, which nothing here looks at.
    """

    actions: NDArray[np.float32]
    observed_at: float
    stamp_ns: int
    generation: int
    start: int = 0
    advisory: float | None = None


def covers(steps: int, step_s: float, cycle_s: float, period_s: float, frame_s: float) -> bool:
    """Whether chunks of `steps` follow each other without a hole.

    Each must last until the next one is ready, which is made from a frame that came up to `frame_s` after inference was
    free or due again.
    """
    return steps * step_s >= cycle_s + max(cycle_s, period_s) + frame_s


class Chunks:
    """Keeps the newest chunk. One thread calls `put`, another `take`: the chunk is replaced in one step."""

    def __init__(self, step_s: float, execute_steps: int, low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        self._step_s = step_s
        self._steps = execute_steps
        self._low = low
        self._high = high
        self._chunk: Chunk | None = None
        self._begun: int | None = None
        self._live = False
        self.consumed = 0
        self.delay_steps = 0
        self.non_finite = 0
        self.clamped = 0

    def put(self, chunk: Chunk) -> None:
        """Take a new chunk, clamped to the contract's range.

        One that is not finite is counted and replaces the older one by nothing.

        `delay_steps` becomes the number of its steps that were consumed while it was made.
        """
        if not np.isfinite(chunk.actions).all():
            self.non_finite += 1
            self._chunk = None
            return
        steps = chunk.actions[: self._steps]
        actions = np.maximum(steps, self._low)
        np.minimum(actions, self._high, out=actions)
        self.clamped += int((actions != steps).any())
        self.delay_steps = self.consumed - chunk.start
        self._begun = chunk.generation
        self._chunk = replace(chunk, actions=actions)

    def take(self, now: float, generation: int | None, periods: int = 1) -> Chunk | None:
        """The steps still to be executed, first one first, and count the first as consumed.

        None when there are none, or they were for an older generation; `generation` None stands still.

        `periods` that passed since the last call were spent on the steps that came with it: a skipped tick consumes one
        as well.
        """
        if self._live:
            self.consumed += periods - 1
        rest = None if generation is None else self.rest(now, generation)
        self._live = rest is not None
        self.consumed += int(self._live)
        return rest

    def rest(self, now: float, generation: int) -> Chunk | None:
        """What `take` would give."""
        actions = self.ahead(self.consumed, generation)
        chunk = self._chunk
        if chunk is None or len(actions) == 0 or now - chunk.observed_at >= len(chunk.actions) * self._step_s:
            return None
        return replace(chunk, actions=actions)

    def ahead(self, start: int, generation: int) -> NDArray[np.float32]:
        """The steps of the chunk in force that come after `start` consumed ones; empty when there is none."""
        chunk = self._chunk
        if chunk is None or chunk.generation != generation:
            return np.zeros((0, len(self._low)), dtype=np.float32)
        return chunk.actions[max(0, start - chunk.start) :]

    def dry(self, generation: int) -> bool:
        """Whether there once was a chunk of this generation."""
        return self._begun == generation
