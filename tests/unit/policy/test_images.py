"""Frames of every encoding against a slow reference that reads pixel by pixel."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import types

import numpy as np
import pytest

from model_registry.core.contract.cameras import CameraRecipe
from stack.engine.images import ImagePreprocessor
from stack.engine.observing import Frame
from stack.policy.cdr import Image, UnsupportedImageError, cv_bridge, frame

ORDER = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0), "mono8": (0, 0, 0)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


def message(encoding: str, width: int = 7, height: int = 5, padding: int = 0) -> Image:
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
    image = message(encoding, padding=padding)
    pixels, order = frame(image)
    assert np.array_equal(pixels[:, :, list(order)], slow(image))


@pytest.mark.parametrize("encoding", sorted(CHANNELS))
def test_a_frame_is_a_view_of_the_message(encoding: str) -> None:
    image = message(encoding)
    assert np.shares_memory(frame(image).pixels, np.frombuffer(image.data, np.uint8))


@pytest.mark.parametrize("resize", ["area", "linear"])
@pytest.mark.parametrize("encoding", sorted(CHANNELS))
def test_preprocessing_takes_the_views_as_they_are(encoding: str, resize: str) -> None:
    image = message(encoding, 64, 48, 3)
    prepare = ImagePreprocessor(CameraRecipe(16, 16, resize=resize, mean=MEAN, std=STD))
    seen = prepare((frame(image),)).copy()
    assert np.array_equal(seen, prepare((Frame(np.ascontiguousarray(slow(image))),)))


@pytest.mark.parametrize("encoding", sorted(CHANNELS))
def test_preprocessing_allocates_nothing_of_the_size_of_a_picture(encoding: str) -> None:
    image = message(encoding, 640, 480, 8)
    prepare = ImagePreprocessor(CameraRecipe(112, 112, mean=MEAN, std=STD))
    prepare((frame(image),))
    tracemalloc.start()
    try:
        prepare((frame(image),))
        assert tracemalloc.get_traced_memory()[1] < 112 * 112
    finally:
        tracemalloc.stop()


def test_other_encodings_are_converted_where_cv_bridge_is_there() -> None:
    image = Image(0, 2, 2, "yuv422", 4, memoryview(bytes(8)))
    seen = []

    def convert(sent: Image, wanted: str) -> np.ndarray:
        seen.append((sent.encoding, sent.is_bigendian, wanted))
        return np.full((2, 2, 3), 7, np.uint8)

    pixels, order = frame(image, convert)
    assert (pixels == 7).all() and order == (0, 1, 2)
    assert seen == [("yuv422", 0, "rgb8")]


def test_what_cv_bridge_cannot_convert_is_refused_with_its_words() -> None:
    def convert(sent: Image, wanted: str) -> np.ndarray:
        raise RuntimeError("encoding yuv999 unknown")

    with pytest.raises(UnsupportedImageError, match="yuv999 unknown"):
        frame(Image(0, 2, 2, "yuv999", 4, memoryview(bytes(8))), convert)
    with pytest.raises(UnsupportedImageError, match="no colour image"):
        frame(Image(0, 2, 2, "32FC1", 4, memoryview(bytes(8))), lambda sent, wanted: np.zeros((2, 2), np.float32))


def test_cv_bridge_is_imported_only_when_it_is_asked_for() -> None:
    program = "import sys, stack.policy.slot; assert 'cv_bridge' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_where_cv_bridge_is_there_its_converter_is_used() -> None:
    sys.modules["cv_bridge"] = types.ModuleType("cv_bridge")
    try:
        vars(sys.modules["cv_bridge"])["CvBridge"] = lambda: types.SimpleNamespace(imgmsg_to_cv2=len)
        assert cv_bridge() is len
    finally:
        del sys.modules["cv_bridge"]


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
        frame(image)
