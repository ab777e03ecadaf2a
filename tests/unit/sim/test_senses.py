from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stack.sim.scene import Pillar, Scene, ScenePose, build
from stack.sim.senses import HEIGHT, HFOV_RAD, RANGE_MAX_M, WIDTH, Sensed, Senses, cast
from stack.sim.world import World

HALF = (4.0, 4.0)


def look(*pillars: Pillar, pose: ScenePose | None = None) -> Sensed:
    world = World(Scene(pose or ScenePose(0.0, 0.0, 0.0), pillars), np.random.default_rng(1))
    return Senses(1).observe(world)


def reddish(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    values = rgb.astype(int)
    return (values[..., 0] > 100) & (values[..., 1] < 80) & (values[..., 2] < 80)


def slow_cast(x: float, y: float, angle: float, circles: NDArray[np.float64]) -> float:
    """March along the ray in steps of a millimetre."""
    for step in range(1, 12_000):
        px, py = x + math.cos(angle) * step / 1000, y + math.sin(angle) * step / 1000
        if abs(px) > HALF[0] or abs(py) > HALF[1] or any(math.hypot(px - cx, py - cy) < r for cx, cy, r in circles):
            return step / 1000
    raise AssertionError("a ray left the room")


def test_rays_meet_what_a_slow_march_meets() -> None:
    rng = np.random.default_rng(8)
    circles = np.array([(1.5, 0.5, 0.2), (-2.0, 1.0, 0.3), (0.4, -2.5, 0.2)])
    angles = rng.uniform(-math.pi, math.pi, 40)
    hits = cast(Scene(ScenePose(0.3, -0.2, 0.0), tuple(Pillar("red", *circle) for circle in circles)), angles)
    nearest = np.minimum(hits.wall, hits.pillars.min(axis=0))
    for angle, distance in zip(angles, nearest, strict=True):
        assert distance == pytest.approx(slow_cast(0.3, -0.2, float(angle), circles), abs=0.005)


def test_rays_along_the_axes_meet_the_walls() -> None:
    hits = cast(Scene(ScenePose(1.0, 0.5, 0.0), ()), np.array([0.0, math.pi / 2, math.pi, -math.pi / 2]))
    assert hits.wall == pytest.approx([3.0, 3.5, 5.0, 4.5])
    assert hits.wall_is_side.tolist() == [True, False, True, False]


def test_lidar_starts_behind_and_counts_to_the_left() -> None:
    ranges = look(Pillar("red", 0.0, 2.0)).ranges
    assert ranges.shape == (360,)
    assert ranges.dtype == np.float32
    assert ranges[0] == pytest.approx(4.0, abs=0.05)
    assert ranges[270] == pytest.approx(1.8, abs=0.05)  # -pi + 270 degrees: left


def test_lidar_sees_nothing_beyond_its_range() -> None:
    ranges = look(pose=ScenePose(-3.8, -3.8, math.pi / 4)).ranges
    assert np.isinf(ranges[180])
    assert ranges[np.isfinite(ranges)].max() <= RANGE_MAX_M


def test_camera_gives_rgb_frames_of_its_size() -> None:
    rgb = look().rgb
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous


def test_pillar_ahead_is_in_the_middle_column() -> None:
    columns = np.flatnonzero(reddish(look(Pillar("red", 2.0, 0.0)).rgb).any(axis=0))
    assert (columns.min() + columns.max()) / 2 == pytest.approx(WIDTH / 2 - 0.5, abs=1)


def test_pillar_to_the_left_is_in_the_left_half() -> None:
    columns = np.flatnonzero(reddish(look(Pillar("red", 2.0, 1.0)).rgb).any(axis=0))
    assert columns.size > 0
    assert columns.max() < WIDTH / 2


def test_nearer_pillar_is_larger_and_hides_the_one_behind() -> None:
    near = reddish(look(Pillar("red", 1.5, 0.0)).rgb).sum()
    far = reddish(look(Pillar("red", 3.0, 0.0)).rgb).sum()
    assert near > 3 * far
    assert reddish(look(Pillar("red", 3.0, 0.0), Pillar("blue", 1.5, 0.0)).rgb).sum() == 0


def test_pillar_outside_the_opening_is_not_seen() -> None:
    angle = HFOV_RAD / 2 + 0.2
    assert not reddish(look(Pillar("red", 2 * math.cos(angle), 2 * math.sin(angle))).rgb).any()


def test_two_frames_of_a_standing_robot_differ_by_noise_only() -> None:
    world = World(build("random", np.random.default_rng(3)), np.random.default_rng(3))
    senses = Senses(1)
    first, second = (senses.observe(world).rgb.astype(int) for _ in range(2))
    assert (first != second).any()
    assert np.abs(first - second).max() <= 4
