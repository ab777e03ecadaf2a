"""A pinhole camera that draws the room column by column.

Every pixel is a packed 32-bit value while drawing (one masked copy per surface instead of three), and sensor noise keeps two frames of a
standing robot from being equal, as they never are on a real one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stack.sim.geometry import cast
from stack.sim.world import World

WIDTH, HEIGHT = 320, 240
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


def _pack(rgb: NDArray[np.float64]) -> NDArray[np.uint32]:
    levels = rgb.astype(np.uint32)
    return np.asarray(levels[..., 0] | levels[..., 1] << 8 | levels[..., 2] << 16, dtype="<u4")


def _background() -> NDArray[np.uint32]:
    """Ceiling and floor, lighter towards the horizon."""
    rows = np.arange(HEIGHT)[:, None]
    nearness = np.abs(rows - HEIGHT / 2) / (HEIGHT / 2)
    ceiling = (215, 220, 228) - 30.0 * nearness
    floor = (126, 112, 96) - 36.0 * nearness
    column = _pack(np.where(rows < HEIGHT / 2, ceiling, floor))
    return np.repeat(column[:, None], WIDTH, axis=1)


class Camera:
    """Renders frames of one world; keeps its buffers between frames."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._background = _background()
        self._pixels = np.empty((HEIGHT, WIDTH), dtype="<u4")
        self._noise = rng.integers(0, NOISE_LEVELS, WIDTH * HEIGHT * 3 + _NOISE_SLACK, dtype=np.uint8)

    def render(self, world: World) -> NDArray[np.uint8]:
        """A frame as the robot sees it now: uint8 RGB [240, 320, 3]."""
        pose = world.pose
        hits = cast(pose.x, pose.y, _COLUMN_ANGLES + pose.theta, world.half_size, world.circles)
        np.copyto(self._pixels, self._background)
        self._walls(hits.wall, hits.wall_is_side)
        order = np.argsort(hits.pillars.min(axis=1, initial=np.inf))[::-1]
        for index in order:
            self._pillar(hits.pillars[index], _RGB[world.scene.pillars[index].color])
        return self._with_noise()

    def _walls(self, distances: NDArray[np.float64], is_side: NDArray[np.bool_]) -> None:
        light = np.where(is_side, 150.0, 172.0) / (1.0 + 0.03 * distances)
        self._surface(slice(0, WIDTH), distances, WALL_HEIGHT_M, np.repeat(light[:, None], 3, axis=1))

    def _pillar(self, distances: NDArray[np.float64], rgb: tuple[int, int, int]) -> None:
        columns = np.flatnonzero(np.isfinite(distances))
        if columns.size == 0:
            return
        span = slice(int(columns[0]), int(columns[-1]) + 1)
        near = distances[span]
        depth_of_field = max(float(near.max() - near.min()), 1e-6)
        light = 1.0 - 0.35 * (near - near.min()) / depth_of_field  # darker towards its edges, as a round thing is
        self._surface(span, near, PILLAR_HEIGHT_M, light[:, None] * np.array(rgb))

    def _surface(self, span: slice, distances: NDArray[np.float64], height_m: float, rgb: NDArray[np.float64]) -> None:
        """Draw an upright surface over the columns of `span`; `distances` [columns] along the rays, `rgb` [columns, 3]."""
        scale = FOCAL_PX / np.maximum(distances * _COLUMN_COSINES[span], NEAR_M)
        top = (HEIGHT / 2 - (height_m - CAMERA_HEIGHT_M) * scale).astype(np.float32)
        bottom = (HEIGHT / 2 + CAMERA_HEIGHT_M * scale).astype(np.float32)
        covered = (top <= _ROWS) & (bottom > _ROWS)
        np.copyto(self._pixels[:, span], _pack(rgb), where=covered)

    def _with_noise(self) -> NDArray[np.uint8]:
        packed = self._pixels.view(np.uint8).reshape(HEIGHT, WIDTH, 4)
        frame = np.ascontiguousarray(packed[:, :, :3])
        start = int(self._rng.integers(_NOISE_SLACK))
        frame.reshape(-1)[:] += self._noise[start : start + frame.size]
        return frame
