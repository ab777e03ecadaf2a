"""Frames of every encoding against a slow reference that reads pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from stack.policy.cdr import Image, UnsupportedImageError, rgb
from stack.policy.inputs import ImagePreprocessor

ORDER = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0), "mono8": (0, 0, 0)}
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


def frame(encoding: str, width: int = 7, height: int = 5, padding: int = 0) -> Image:
    step = width * CHANNELS[encoding] + padding
    data = np.random.default_rng(1).integers(0, 256, step * height, dtype=np.uint8).tobytes()
    return Image(0, height, width, encoding, step, memoryview(data))


def slow(image: Image) -> np.ndarray:
    result = np.zeros((image.height, image.width, 3), np.uint8)
    for row in range(image.height):
        for column in range(image.width):
            start = row * image.step + column * CHANNELS[image.encoding]
            result[row, column] = [image.data[start + offset] for offset in ORDER[image.encoding]]
    return result


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", sorted(CHANNELS))
def test_a_frame_equals_the_slow_reference(encoding: str, padding: int) -> None:
    image = frame(encoding, padding=padding)
    assert np.array_equal(rgb(image), slow(image))


@pytest.mark.parametrize("encoding", sorted(CHANNELS))
def test_a_frame_is_a_view_of_the_message(encoding: str) -> None:
    image = frame(encoding)
    assert np.shares_memory(rgb(image), np.frombuffer(image.data, np.uint8))


@pytest.mark.parametrize("encoding", sorted(CHANNELS))
def test_preprocessing_takes_the_views_as_they_are(encoding: str) -> None:
    image = frame(encoding, 64, 48, 3)
    prepare = ImagePreprocessor(16, 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert np.array_equal(prepare(rgb(image)).copy(), prepare(np.ascontiguousarray(slow(image))))


@pytest.mark.parametrize(
    "image",
    [
        Image(0, 2, 2, "yuv422", 4, memoryview(bytes(8))),
        Image(0, 2, 2, "rgb8", 6, memoryview(bytes(11))),
        Image(0, 2, 2, "rgb8", 5, memoryview(bytes(12))),
        Image(0, 0, 2, "rgb8", 6, memoryview(b"")),
        Image(0, 1 << 20, 1 << 20, "mono8", 1 << 20, memoryview(b"")),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused(image: Image) -> None:
    with pytest.raises(UnsupportedImageError, match=r"^camera: "):
        rgb(image)
