"""One observation as the robot has it, before anything is prepared: pixels, numbers in their units, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RGB = (0, 1, 2)

Tensor = NDArray[np.generic]
"""What a graph takes or gives."""
Steps = NDArray[np.float32]
"""Actions [steps, dimensions] in their units."""


class Frame(NamedTuple):
    """Pixels uint8 [height, width, channels] as they were sent; `order` says which channel is red, green and blue.

    Channels are put in order after the picture was made small: to do it here would copy the whole frame.
    """

    pixels: NDArray[np.uint8]
    order: tuple[int, int, int] = RGB

    def sample(self) -> bytes:
        """64 pixels of a fixed grid."""
        height, width = self.pixels.shape[:2]
        return self.pixels[:: max(1, height // 8), :: max(1, width // 8)][:8, :8].tobytes()


@dataclass(frozen=True)
class LaserScan:
    """What is used of sensor_msgs/LaserScan: radians, metres, and `ranges` float32 [beams]."""

    stamp_ns: int
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float32]

    @property
    def valid(self) -> float:
        """Fraction of beams that say anything: neither NaN, -inf nor nearer than the laser can measure."""
        with np.errstate(invalid="ignore"):
            return float(np.count_nonzero(self.ranges >= self.range_min)) / max(1, len(self.ranges))


@dataclass(frozen=True)
class Observation:
    """What one inference sees.

    `frames`: for each camera of the contract as many frames as it wants, oldest first. `state`: float32
    [frames, numbers] in the units and the order of the contract. `ahead`: the actions in units that were still to come
    when the newest frame arrived, and `delay` how many of them will probably have been executed when the new chunk is
    ready. `seed` and `number` decide the noise: the release's, and the frame's. `tensors`: what was prepared already of
    some cameras.
    """

    frames: Mapping[str, Sequence[Frame]] = field(default_factory=dict)
    goal: Frame | None = None
    state: NDArray[np.float32] | None = None
    scan: LaserScan | None = None
    text: str = ""
    ahead: Steps | None = None
    delay: int = 0
    seed: int = 0
    number: int = 0
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


class Answer(NamedTuple):
    """`actions` float32 [horizon, dims] in units, not checked to be finite.

    `advisory` is the lowest score of the steps, or None.
    """

    actions: Steps
    advisory: float | None
