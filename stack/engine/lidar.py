"""From a scan to what networks see of it: the nearest range in each direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_EDGE = 1e-3  # of a sector: a beam meant to start a sector does, whatever a float32 message field did to its angle


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
