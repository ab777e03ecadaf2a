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

_RESIZE = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}
_EDGE = 1e-3  # of a sector: a beam meant to start a sector does, whatever a float32 message field did to its angle


class ImagePreprocessor:
    """Resizes and normalises frames into one RGB buffer that it keeps; copy the result to hold on to it.

    `mean` and `std` are per RGB channel, for pixels in 0..1; `resize` is `area` or, several times faster on large
    frames, `linear`.
    """

    def __init__(
        self, width: int, height: int, mean: Sequence[float], std: Sequence[float], resize: str = "area"
    ) -> None:
        levels = np.arange(256, dtype=np.float32) / np.float32(255)
        scale = np.asarray(std, dtype=np.float32)[:, None]
        self._table = (levels[None, :] - np.asarray(mean, dtype=np.float32)[:, None]) / scale
        self._size = (width, height)
        self._how = _RESIZE[resize]
        self._small: dict[int, tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]] = {}
        self._buffer: NDArray[np.float32] = np.empty((1, 3, height, width), dtype=np.float32)

    def __call__(self, pixels: NDArray[np.uint8], order: Sequence[int] = (0, 1, 2)) -> NDArray[np.float32]:
        """uint8 [H, W, channels], red, green and blue at `order` -> float32 [1, 3, height, width], valid until the next
        call.
        """
        small, planes = self._scratch(pixels.shape[2])
        # As [H, W] where there is one channel: OpenCV drops that axis.
        source = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        cv2.resize(source, self._size, dst=small, interpolation=self._how)
        cv2.split(small, planes)
        for channel, plane in enumerate(order):
            cv2.LUT(planes[plane], self._table[channel : channel + 1], dst=self._buffer[0, channel])
        return self._buffer

    def _scratch(self, channels: int) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
        if channels not in self._small:
            width, height = self._size
            shape = (height, width) if channels == 1 else (height, width, channels)
            planes: list[NDArray[np.uint8]] = [np.empty((height, width), dtype=np.uint8) for _ in range(channels)]
            self._small[channels] = np.empty(shape, dtype=np.uint8), planes
        return self._small[channels]


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
    """Smallest range of each of `sectors` equal angles, as float32 [1, sectors] in 0..1, and the fraction of valid
    beams.

    Sector 0 starts at angle -pi and they count to the left. Beams go to sectors by angle, never by index. NaN, -inf and
    ranges below `range_min` are invalid; inf and ranges above `range_max` are free (`max_range_m`). Ranges are clipped
    to `max_range_m` and divided by it. A sector without a valid beam is 0: nothing known counts as something touching.
    """
    result = np.zeros((1, sectors), dtype=np.float32)
    if len(ranges) == 0:
        return result, 0.0
    place = _assign(len(ranges), float(angle_min), float(angle_increment), sectors)
    with np.errstate(invalid="ignore"):
        beams = ranges[place.order]
        metres = np.minimum(beams, np.float32(max_range_m))
        if range_max < max_range_m:
            metres[beams > range_max] = max_range_m
        invalid = ~(beams >= range_min)
    metres[invalid] = np.inf
    nearest = np.minimum.reduceat(metres, place.starts)
    nearest[nearest == np.inf] = 0.0
    result[0, place.numbers] = nearest / np.float32(max_range_m)
    return result, 1.0 - np.count_nonzero(invalid) / len(ranges)
