"""What the robot senses of its room: a pinhole camera that draws column by column, and a planar lidar of 360 beams.

Every pixel is a packed 32-bit value while drawing (one masked copy per surface instead of three), and sensor noise
keeps two frames of a standing robot from being equal, as they never are on a real one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stack.sim.scene import Scene
from stack.sim.world import World

Floats = NDArray[np.float64]

WIDTH = 320
HEIGHT = 240
HFOV_RAD = math.radians(95.0)
FOCAL_PX = WIDTH / 2 / math.tan(HFOV_RAD / 2)
CAMERA_HEIGHT_M = 0.35
WALL_HEIGHT_M = 1.4
PILLAR_HEIGHT_M = 0.9
NEAR_M = 0.05
NOISE_LEVELS = 5
_NOISE_SLACK = 8192
_RGB = {"red": (205, 35, 30), "green": (35, 160, 45), "blue": (35, 60, 205), "yellow": (225, 200, 35)}
_COLUMN_ANGLES = np.arctan((WIDTH / 2 - 0.5 - np.arange(WIDTH)) / FOCAL_PX)
_COLUMN_COSINES = np.cos(_COLUMN_ANGLES)
_ROWS = np.arange(HEIGHT, dtype=np.float32)[:, None]

BEAMS = 360
ANGLE_MIN = -math.pi
ANGLE_INCREMENT = math.tau / BEAMS
RANGE_MIN_M = 0.05
RANGE_MAX_M = 10.0
RANGE_NOISE_M = 0.008
_BEAM_ANGLES = ANGLE_MIN + ANGLE_INCREMENT * np.arange(BEAMS, dtype=np.float64)


class Hits(NamedTuple):
    """Where each of `m` rays meets the walls and each of `n` pillars, in metres from the robot's centre."""

    wall: Floats  # [m]
    wall_is_side: NDArray[np.bool_]  # [m], True where the wall met is one of the two that run along y
    pillars: Floats  # [n, m], inf where a ray misses


class Sensed(NamedTuple):
    """What the robot senses at one moment: `rgb` uint8 [240, 320, 3], `ranges` float32 [360] in metres."""

    rgb: NDArray[np.uint8]
    ranges: NDArray[np.float32]


def cast(scene: Scene, bearings: Floats) -> Hits:
    """Cast rays from the robot at `bearings` [m] (rad, left positive)."""
    pose = scene.pose
    angles = bearings + scene.pose.theta
    cos = np.cos(angles)
    sin = np.sin(angles)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_side = (np.copysign(scene.size[0] / 2, cos) - pose.x) / cos
        to_end = (np.copysign(scene.size[1] / 2, sin) - pose.y) / sin
    circles = np.array([(p.x, p.y, p.radius) for p in scene.pillars], dtype=np.float64).reshape(-1, 3)
    offset = circles[:, :2] - (pose.x, pose.y)
    along = offset[:, :1] * cos + offset[:, 1:] * sin
    across = offset[:, :1] * sin - offset[:, 1:] * cos
    under_root = circles[:, 2:] ** 2 - across**2
    meets = (under_root > 0.0) & (along > 0.0)
    pillars = np.where(meets, along - np.sqrt(np.maximum(under_root, 0.0)), np.inf)
    return Hits(np.minimum(to_side, to_end), to_side < to_end, np.maximum(pillars, 0.0))


class Senses:
    """Camera and lidar with a noise source of their own."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._background = _background()
        self._noise = self._rng.integers(0, NOISE_LEVELS, WIDTH * HEIGHT * 3 + _NOISE_SLACK, dtype=np.uint8)

    def observe(self, world: World) -> Sensed:
        return Sensed(self.render(world.scene), self.scan(world.scene))

    def scan(self, scene: Scene) -> NDArray[np.float32]:
        """Ranges [360] in metres, beam 0 looks backwards, counted to the left; inf beyond RANGE_MAX_M."""
        hits = cast(scene, _BEAM_ANGLES)
        ranges = np.minimum(hits.wall, hits.pillars.min(axis=0, initial=np.inf))
        ranges += self._rng.normal(0.0, RANGE_NOISE_M, BEAMS)
        ranges[ranges > RANGE_MAX_M] = np.inf
        return np.asarray(np.maximum(ranges, 0.0), dtype=np.float32)

    def render(self, scene: Scene) -> NDArray[np.uint8]:
        """A frame: uint8 RGB [240, 320, 3]."""
        hits = cast(scene, _COLUMN_ANGLES)
        pixels = self._background.copy()
        light = np.where(hits.wall_is_side, 150.0, 172.0) / (1.0 + 0.03 * hits.wall)
        _draw(pixels, 0, hits.wall, WALL_HEIGHT_M, np.repeat(light[:, None], 3, axis=1))
        for index in np.argsort(hits.pillars.min(axis=1, initial=np.inf))[::-1]:  # the nearest last
            _draw_pillar(pixels, hits.pillars[index], _RGB[scene.pillars[index].color])
        frame = np.ascontiguousarray(pixels.view(np.uint8).reshape(HEIGHT, WIDTH, 4)[:, :, :3])
        start = int(self._rng.integers(_NOISE_SLACK))
        frame.reshape(-1)[:] += self._noise[start : start + frame.size]
        return frame


def _pack(rgb: Floats) -> NDArray[np.uint32]:
    levels = rgb.astype(np.uint32)
    return np.asarray(levels[..., 0] | levels[..., 1] << 8 | levels[..., 2] << 16, dtype="<u4")


def _background() -> NDArray[np.uint32]:
    """Ceiling and floor, lighter towards the horizon."""
    rows = np.arange(HEIGHT)[:, None]
    nearness = np.abs(rows - HEIGHT / 2) / (HEIGHT / 2)
    column = np.where(rows < HEIGHT / 2, (215, 220, 228) - 30.0 * nearness, (126, 112, 96) - 36.0 * nearness)
    return np.repeat(_pack(column)[:, None], WIDTH, axis=1)


def _draw_pillar(pixels: NDArray[np.uint32], distances: Floats, rgb: tuple[int, int, int]) -> None:
    columns = np.flatnonzero(np.isfinite(distances))
    if columns.size == 0:
        return
    near = distances[columns[0] : columns[-1] + 1]
    depth = max(float(near.max() - near.min()), 1e-6)
    light = 1.0 - 0.35 * (near - near.min()) / depth  # darker towards its edges, as a round thing is
    _draw(pixels, int(columns[0]), near, PILLAR_HEIGHT_M, light[:, None] * np.array(rgb))


def _draw(pixels: NDArray[np.uint32], first: int, distances: Floats, height_m: float, rgb: Floats) -> None:
    """Draw an upright surface from column `first` on; `distances` [columns] along the rays, `rgb` [columns, 3]."""
    span = slice(first, first + len(distances))
    scale = FOCAL_PX / np.maximum(distances * _COLUMN_COSINES[span], NEAR_M)
    top = (HEIGHT / 2 - (height_m - CAMERA_HEIGHT_M) * scale).astype(np.float32)
    bottom = (HEIGHT / 2 + CAMERA_HEIGHT_M * scale).astype(np.float32)
    np.copyto(pixels[:, span], _pack(rgb), where=(top <= _ROWS) & (bottom > _ROWS))
