"""Rays against the room: the one place that camera and lidar ask what is where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hits:
    """Where each of `m` rays meets the walls and each of `n` pillars, in metres from the origin of the rays."""

    wall: Floats  # [m]
    wall_is_side: NDArray[np.bool_]  # [m], True where the wall met is one of the two that run along y
    pillars: Floats  # [n, m], inf where a ray misses


def cast(x: float, y: float, angles: Floats, half_size: tuple[float, float], circles: Floats) -> Hits:
    """Cast rays from (x, y) at world `angles` [m] (rad) inside the room |x| <= half_size[0], |y| <= half_size[1].

    `circles` [n, 3] holds x, y and radius (m) of every pillar.
    """
    cos, sin = np.cos(angles), np.sin(angles)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_side = (np.copysign(half_size[0], cos) - x) / cos
        to_end = (np.copysign(half_size[1], sin) - y) / sin
    wall = np.minimum(to_side, to_end)
    offset = circles[:, :2] - (x, y)
    along = offset[:, :1] * cos + offset[:, 1:] * sin
    across = offset[:, :1] * sin - offset[:, 1:] * cos
    under_root = circles[:, 2:] ** 2 - across**2
    meets = (under_root > 0.0) & (along > 0.0)
    pillars = np.where(meets, along - np.sqrt(np.maximum(under_root, 0.0)), np.inf)
    return Hits(wall, to_side < to_end, np.maximum(pillars, 0.0))
