"""Views into serialized ROS messages, so that a camera frame is not copied field by field on its way to the network.

Subscriptions take the raw bytes; only the two message types that a slot reads at sensor rate are understood here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_registry.core.cdr import Cursor, MalformedMessageError
from model_registry.core.errors import HomeportError

_MAX_PIXELS = 1 << 25
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


class UnsupportedImageError(HomeportError):
    """A frame that cannot be shown to the network."""


@dataclass(frozen=True)
class Image:
    """The fields of sensor_msgs/Image; `stamp_ns` is ROS time, `data` the bytes as sent."""

    stamp_ns: int
    height: int
    width: int
    encoding: str
    step: int
    data: memoryview


@dataclass(frozen=True)
class Scan:
    """What is used of sensor_msgs/LaserScan: radians, metres, and `ranges` float32 [beams]."""

    stamp_ns: int
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float32]


def parse_image(data: bytes) -> Image:
    """Raises MalformedMessageError."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    height, width = cursor.take("II")
    encoding = cursor.text()
    cursor.take("B")
    (step,) = cursor.take("I")
    return Image(stamp_ns, height, width, encoding, step, cursor.block())


def parse_scan(data: bytes) -> Scan:
    """Raises MalformedMessageError."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    angle_min, _, increment, _, _, range_min, range_max = cursor.take("fffffff")
    if not (math.isfinite(angle_min) and math.isfinite(increment)) or math.isnan(range_min + range_max):
        raise MalformedMessageError("message: a scan whose angles or limits are not numbers; check the laser's driver")
    ranges = np.frombuffer(cursor.block(4), dtype=f"{cursor.order}f4").astype(np.float32, copy=False)
    return Scan(stamp_ns, angle_min, increment, range_min, range_max, ranges)


def rgb(image: Image) -> NDArray[np.uint8]:
    """uint8 [height, width, 3], a view of the frame for rgb8, bgr8, rgba8, bgra8 and mono8. Raises UnsupportedImageError.

    Rows may be longer than their pixels (`step`); what is behind them is left out.
    """
    channels = _CHANNELS.get(image.encoding)
    if channels is None:
        raise UnsupportedImageError(
            f"camera: encoding {image.encoding[:40]!r} is not supported; publish one of {', '.join(_CHANNELS)}"
        )
    height, width, step = image.height, image.width, image.step
    if not 0 < height * width <= _MAX_PIXELS:
        raise UnsupportedImageError(f"camera: {width}x{height} is no usable size; check the driver's settings")
    if step < width * channels or len(image.data) < step * (height - 1) + width * channels:
        raise UnsupportedImageError(
            f"camera: {len(image.data)} bytes with step {step} do not hold {width}x{height} {image.encoding}; check the driver"
        )
    pixels = np.ndarray((height, width, channels), np.uint8, image.data, strides=(step, channels, 1))
    if channels == 1:
        return np.broadcast_to(pixels, (height, width, 3))
    return pixels[:, :, 2::-1] if image.encoding.startswith("bgr") else pixels[:, :, :3]
