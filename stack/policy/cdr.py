"""Views into serialized ROS messages, so that a camera frame is not copied field by field on its way to the network.

Subscriptions take the raw bytes; only the two message types that a slot reads at sensor rate are understood here.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.core.cdr import Cursor, MalformedMessageError
from model_registry.core.errors import HomeportError
from stack.engine.observing import RGB, Frame, LaserScan

_MAX_PIXELS = 1 << 25
_MAX_JOINTS = 256
# Encoding → bytes of a pixel, and which of them are red, green and blue.
_ENCODINGS = {
    "rgb8": (3, RGB),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, RGB),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}


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
    is_bigendian: int = 0


Convert = Callable[[Image, str], NDArray[Any]]
"""cv_bridge's `imgmsg_to_cv2`: a message and the wanted encoding -> pixels."""


def parse_image(data: bytes) -> Image:
    """Raises MalformedMessageError."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    height, width = cursor.take("II")
    encoding = cursor.text()
    (is_bigendian,) = cursor.take("B")
    (step,) = cursor.take("I")
    return Image(stamp_ns, height, width, encoding, step, cursor.block(), is_bigendian)


def parse_scan(data: bytes) -> LaserScan:
    """Raises MalformedMessageError."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    angle_min, _, increment, _, _, range_min, range_max = cursor.take("fffffff")
    if not (math.isfinite(angle_min) and math.isfinite(increment)) or math.isnan(range_min + range_max):
        raise MalformedMessageError("message: a scan whose angles or limits are not numbers; check the laser's driver")
    ranges = np.frombuffer(cursor.block(4), dtype=f"{cursor.order}f4").astype(np.float32, copy=False)
    return LaserScan(stamp_ns, angle_min, increment, range_min, range_max, ranges)


@dataclass(frozen=True)
class JointStates:
    """The fields of sensor_msgs/JointState: names, and where given rad, rad/s and Nm (or m, m/s and N) of each."""

    stamp_ns: int
    names: tuple[str, ...]
    positions: tuple[float, ...]
    velocities: tuple[float, ...]
    efforts: tuple[float, ...]


@dataclass(frozen=True)
class Speeds:
    """Of nav_msgs/Odometry: how fast the base moves, in m/s and rad/s, by name."""

    stamp_ns: int
    values: dict[str, float]


def parse_joints(data: bytes) -> JointStates:
    """Raises MalformedMessageError; a number that is not finite is refused."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    (count,) = cursor.take("I")
    if count > _MAX_JOINTS:
        raise MalformedMessageError(f"message: {count} joints, at most {_MAX_JOINTS} are read; check its publisher")
    names = tuple(cursor.text() for _ in range(count))
    columns = [np.frombuffer(cursor.block(8), dtype=f"{cursor.order}f8") for _ in range(3)]
    for column in columns:
        if len(column) not in (0, count):
            raise MalformedMessageError(f"message: {len(column)} numbers for {count} joints; check its publisher")
        if not np.isfinite(column).all():
            raise MalformedMessageError("message: a joint's number is not finite; check its driver")
    positions, velocities, efforts = (tuple(column.tolist()) for column in columns)
    return JointStates(stamp_ns, names, positions, velocities, efforts)


def parse_speeds(data: bytes) -> Speeds:
    """Raises MalformedMessageError; a number that is not finite is refused."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    cursor.text()
    cursor.take("7d")  # the pose
    cursor.take("288x")  # its covariance
    twist = cursor.take("6d")
    values = {"linear_x": twist[0], "linear_y": twist[1], "angular_z": twist[5]}
    if not all(map(math.isfinite, values.values())):
        raise MalformedMessageError("message: a speed that is not finite; check the base's driver")
    return Speeds(stamp_ns, values)


def frame(image: Image, convert: Convert | None = None) -> Frame:
    """The pixels of a message: a view of its bytes for rgb8, bgr8, rgba8, bgra8 and mono8.

    Raises UnsupportedImageError.

    Rows may be longer than their pixels (`step`); what is behind them is left out. Other encodings go through
    `convert`.
    """
    known = _ENCODINGS.get(image.encoding)
    if known is None:
        return _converted(image, convert)
    channels, order = known
    height = image.height
    width = image.width
    step = image.step
    if not 0 < height * width <= _MAX_PIXELS:
        raise UnsupportedImageError(f"camera: {width}x{height} is no usable size; check the driver's settings")
    if step < width * channels or len(image.data) < step * (height - 1) + width * channels:
        raise UnsupportedImageError(
            f"camera: {len(image.data)} bytes with step {step} do not hold {width}x{height} {image.encoding}; check "
            "the driver"
        )
    return Frame(np.ndarray((height, width, channels), np.uint8, image.data, strides=(step, channels, 1)), order)


def _converted(image: Image, convert: Convert | None) -> Frame:
    if convert is None:
        raise UnsupportedImageError(
            f"camera: encoding {image.encoding[:40]!r} needs cv_bridge, which is not here; publish one of "
            f"{', '.join(_ENCODINGS)}"
        )
    try:
        pixels = np.asarray(convert(image, "rgb8"))
    except (
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # what cv_bridge and OpenCV raise, whose errors are RuntimeErrors
        raise UnsupportedImageError(
            f"camera: encoding {image.encoding[:40]!r} cannot be converted ({' '.join(str(error).split())[:100]}); "
            "check the driver"
        ) from error
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UnsupportedImageError(
            f"camera: encoding {image.encoding[:40]!r} became no colour image; check the driver"
        )
    return Frame(pixels, RGB)


def cv_bridge() -> Convert | None:
    """How to convert the encodings that are not read as they are: by cv_bridge, where the image has it."""
    try:
        bridge = importlib.import_module("cv_bridge")
    except ImportError:
        return None
    convert: Convert = bridge.CvBridge().imgmsg_to_cv2
    return convert


def detections_type() -> type | None:
    """The message type of `/detections`, where its package is installed."""
    try:
        kind: type = importlib.import_module("vision_msgs.msg").Detection2DArray
    except ImportError:
        return None
    return kind
