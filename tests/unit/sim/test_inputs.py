"""Fast preprocessing against slow references written from the definition."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_registry.core.contract.cameras import CameraRecipe
from stack.engine.images import ImagePreprocessor
from stack.engine.lidar import lidar_sectors
from stack.engine.observing import Frame

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = CameraRecipe(112, 112, mean=MEAN, std=STD)
FULL_TURN = (-math.pi, math.tau / 360)


def slow_image(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    scaled = small.astype(np.float32) / np.float32(255)
    normal = (scaled - np.array(MEAN, dtype=np.float32)) / (np.array(STD, dtype=np.float32) + np.float32(1e-8))
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def slow_sectors(
    ranges: list[float], start: float, increment: float, low: float, high: float, sectors: int, limit: float
) -> tuple[list[float], float]:
    nearest: list[float | None] = [None] * sectors
    valid = 0
    for index, value in enumerate(ranges):
        if math.isnan(value) or value < low:
            continue
        valid += 1
        turns = (start + index * increment + math.pi) / math.tau
        number = math.floor(turns * sectors + 1e-3) % sectors
        metres = limit if value > high else min(value, limit)
        known = nearest[number]
        nearest[number] = metres if known is None else min(known, metres)
    return [0.0 if value is None else value / limit for value in nearest], valid / len(ranges) if ranges else 0.0


@pytest.mark.parametrize("shape", [(240, 320), (480, 640), (112, 112), (100, 90)])
def test_image_equals_the_slow_reference_bit_for_bit(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = ImagePreprocessor(RECIPE)((Frame(rgb),))
    assert result.dtype == np.float32
    assert np.array_equal(result, slow_image(rgb, 112, 112))


def test_image_buffer_is_kept_between_frames() -> None:
    image = ImagePreprocessor(CameraRecipe(64, 48))
    first = image((Frame(np.zeros((240, 320, 3), dtype=np.uint8)),))
    assert first.shape == (1, 3, 48, 64)
    assert image((Frame(np.full((240, 320, 3), 255, dtype=np.uint8)),)) is first


def test_image_takes_a_view_that_is_not_contiguous() -> None:
    wide = np.random.default_rng(2).integers(0, 256, (240, 340, 4), dtype=np.uint8)
    view = wide[:, :320, :3]
    expected = slow_image(np.ascontiguousarray(view), 112, 112)
    assert np.array_equal(ImagePreprocessor(RECIPE)((Frame(view),)), expected)


range_values = st.one_of(
    st.floats(min_value=0.0, max_value=12.0, width=32),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 0.05, 10.0]),
)


@settings(max_examples=150)
@given(
    ranges=st.lists(range_values, min_size=0, max_size=400),
    sectors=st.sampled_from([90, 180, 360]),
    start=st.floats(min_value=-7.0, max_value=7.0, width=32),
    increment=st.floats(min_value=-0.0625, max_value=0.0625, width=32),
)
def test_sectors_equal_the_slow_reference(ranges: list[float], sectors: int, start: float, increment: float) -> None:
    values = np.array(ranges, dtype=np.float32)
    result, fraction = lidar_sectors(values, start, increment, 0.05, 10.0, sectors, 3.0)
    expected, expected_fraction = slow_sectors([float(v) for v in values], start, increment, 0.05, 10.0, sectors, 3.0)
    assert result.shape == (1, sectors)
    assert result.dtype == np.float32
    assert result[0] == pytest.approx(expected, abs=1e-6)
    assert fraction == pytest.approx(expected_fraction)


def test_sectors_hold_four_whole_beams_each() -> None:
    ranges = np.repeat(np.arange(90, dtype=np.float32) / 100 + 0.1, 4)
    for increment in (FULL_TURN[1], float(np.float32(FULL_TURN[1]))):
        result, _ = lidar_sectors(ranges, float(np.float32(-math.pi)), increment, 0.05, 10.0, 90, 3.0)
        assert result[0] * 3 == pytest.approx(ranges[::4], abs=1e-6)


def test_sectors_follow_the_angle_whatever_the_beam_order() -> None:
    ranges = np.full(360, 2.0, dtype=np.float32)
    ranges[90] = 1.0
    forward, _ = lidar_sectors(ranges, *FULL_TURN, 0.05, 10.0, 90, 3.0)
    backward, _ = lidar_sectors(ranges[::-1], FULL_TURN[0] + 359 * FULL_TURN[1], -FULL_TURN[1], 0.05, 10.0, 90, 3.0)
    assert np.array_equal(forward, backward)


def test_invalid_beams_do_not_count_and_free_ones_are_far() -> None:
    ranges = np.full(360, np.inf, dtype=np.float32)
    ranges[0:4] = (np.nan, -np.inf, 0.01, 1.5)
    result, fraction = lidar_sectors(ranges, *FULL_TURN, 0.05, 10.0, 90, 3.0)
    assert result[0, 0] == pytest.approx(0.5)
    assert (result[0, 1:] == 1.0).all()
    assert fraction == pytest.approx(357 / 360)


def test_sector_without_a_valid_beam_counts_as_touching() -> None:
    ranges = np.full(360, 2.0, dtype=np.float32)
    ranges[8:12] = np.nan
    result, _ = lidar_sectors(ranges, *FULL_TURN, 0.05, 10.0, 90, 3.0)
    assert result[0, 2] == 0.0
    narrow, _ = lidar_sectors(ranges[:180], -math.pi / 2, FULL_TURN[1], 0.05, 10.0, 90, 3.0)
    assert narrow[0, 0] == 0.0
    assert narrow[0, 45] > 0.0


@pytest.mark.parametrize("ranges", [[], [math.nan] * 360])
def test_scan_without_information_is_all_obstacle(ranges: list[float]) -> None:
    result, fraction = lidar_sectors(np.array(ranges, dtype=np.float32), *FULL_TURN, 0.05, 10.0, 90, 3.0)
    assert not result.any()
    assert fraction == 0.0
