"""From sensor arrays to network inputs: the same code in training, in the proof on the device and on the driving robot.

Pure numpy and OpenCV, so that every one of those can import it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

_EDGE = 1e-3  # of a sector: a beam meant to start a sector does, whatever a float32 message field did to its angle


class ImagePreprocessor:
    """Resizes and normalises RGB frames into one buffer that it keeps; copy the result to hold on to it.

    `mean` and `std` are per RGB channel, for pixels in 0..1.
    """

    def __init__(self, width: int, height: int, mean: Sequence[float], std: Sequence[float]) -> None:
        levels = np.arange(256, dtype=np.float32) / np.float32(255)
        scale = np.asarray(std, dtype=np.float32)[:, None]
        self._table = (levels[None, :] - np.asarray(mean, dtype=np.float32)[:, None]) / scale
        self._size = (width, height)
        self._small: NDArray[np.uint8] = np.empty((height, width, 3), dtype=np.uint8)
        self._buffer: NDArray[np.float32] = np.empty((1, 3, height, width), dtype=np.float32)

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [H, W, 3] -> float32 [1, 3, height, width], valid until the next call."""
        cv2.resize(rgb, self._size, dst=self._small, interpolation=cv2.INTER_AREA)
        for channel in range(3):
            # mode="clip" lets numpy write straight into `out`; an uint8 index is never out of range here
            np.take(self._table[channel], self._small[:, :, channel], out=self._buffer[0, channel], mode="clip")
        return self._buffer


@dataclass(frozen=True)
class _Sectors:
    """Which beams fall into which sector: beams in sector order, where each sector starts, and its number."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    numbers: NDArray[np.intp]


@lru_cache(maxsize=8)
def _assign(beams: int, angle_min: float, angle_increment: float, sectors: int) -> _Sectors:
    turns = (angle_min + angle_increment * np.arange(beams, dtype=np.float64) + math.pi) / math.tau
    numbers = np.floor(turns * sectors + _EDGE).astype(np.intp) % sectors
    order = np.argsort(numbers, kind="stable").astype(np.intp)
    present, starts = np.unique(numbers[order], return_index=True)
    return _Sectors(order, starts.astype(np.intp), present.astype(np.intp))


def lidar_sectors(
    ranges: NDArray[np.float32],
    angle_min: float,
    angle_increment: float,
    range_min: float,
    range_max: float,
    sectors: int,
    max_range_m: float,
) -> tuple[NDArray[np.float32], float]:
    """Smallest range of each of `sectors` equal angles, as float32 [1, sectors] in 0..1, and the fraction of valid beams.

    Sector 0 starts at angle -pi and they count to the left. Beams go to sectors by angle, never by index. NaN, -inf and ranges
    below `range_min` are invalid; inf and ranges above `range_max` are free (`max_range_m`). Ranges are clipped to
    `max_range_m` and divided by it. A sector without a valid beam is 0: nothing known counts as something touching.
    """
    result = np.zeros((1, sectors), dtype=np.float32)
    if len(ranges) == 0:
        return result, 0.0
    place = _assign(len(ranges), float(angle_min), float(angle_increment), sectors)
    with np.errstate(invalid="ignore"):
        valid = ranges >= range_min
        metres = np.where(ranges > range_max, np.float32(max_range_m), np.minimum(ranges, np.float32(max_range_m)))
    nearest = np.minimum.reduceat(np.where(valid, metres, np.float32(np.inf))[place.order], place.starts)
    known = np.isfinite(nearest)
    result[0, place.numbers[known]] = nearest[known] / np.float32(max_range_m)
    return result, float(np.count_nonzero(valid)) / len(ranges)
