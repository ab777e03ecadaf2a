"""A 360-beam planar lidar."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stack.sim.geometry import cast
from stack.sim.world import World

BEAMS = 360
ANGLE_MIN = -math.pi
ANGLE_INCREMENT = math.tau / BEAMS
RANGE_MIN_M = 0.05
RANGE_MAX_M = 10.0
NOISE_M = 0.008
_ANGLES = ANGLE_MIN + ANGLE_INCREMENT * np.arange(BEAMS, dtype=np.float64)


def scan(world: World, rng: np.random.Generator) -> NDArray[np.float32]:
    """Ranges [360] in metres, beam 0 looks backwards, counted to the left; inf beyond RANGE_MAX_M."""
    pose = world.pose
    hits = cast(pose.x, pose.y, _ANGLES + pose.theta, world.half_size, world.circles)
    ranges = np.minimum(hits.wall, hits.pillars.min(axis=0, initial=np.inf))
    ranges += rng.normal(0.0, NOISE_M, BEAMS)
    ranges[ranges > RANGE_MAX_M] = np.inf
    return np.asarray(np.maximum(ranges, 0.0), dtype=np.float32)
