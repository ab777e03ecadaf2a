"""Views into serialized ROS messages, so that a camera frame is not copied field by field on its way to the network.

Subscriptions take the raw bytes; only the two message types that a slot reads at sensor rate are understood here.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_registry.core.errors import HomeportError


class MalformedMessageError(HomeportError):
    """A message's bytes do not hold what its type says."""


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


class _Cursor:
    """Reads aligned CDR fields one after another."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 4 or data[0] != 0 or data[1] not in (0, 1):
            raise MalformedMessageError("message: no plain CDR header; check the publisher's middleware")
        self.order = "<" if data[1] else ">"
        self._body = memoryview(data)[4:]
        self._at = 0

    def take(self, code: str) -> tuple[int | float, ...]:
        """Fields of one size: `code` is a struct code such as `II`."""
        size = struct.calcsize(f"={code[0]}")
        self._at += -self._at % size
        layout = struct.Struct(self.order + code)
        if self._at + layout.size > len(self._body):
            raise MalformedMessageError(f"message: ends after {len(self._body)} bytes; check its publisher")
        values = layout.unpack_from(self._body, self._at)
        self._at += layout.size
        return values

    def block(self, item_bytes: int = 1) -> memoryview:
        """A sequence: its bytes."""
        size = int(self.take("I")[0]) * item_bytes
        if self._at + size > len(self._body):
            raise MalformedMessageError(f"message: ends after {len(self._body)} bytes; check its publisher")
        view = self._body[self._at : self._at + size]
        self._at += size
        return view

    def text(self) -> str:
        return bytes(self.block()).rstrip(b"\0").decode("ascii", "replace")

    def stamp_ns(self) -> int:
        seconds, nanoseconds = self.take("iI")
        return int(seconds) * 1_000_000_000 + int(nanoseconds)


def parse_image(data: bytes) -> Image:
    """Raises MalformedMessageError."""
    cursor = _Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    height, width = cursor.take("II")
    encoding = cursor.text()
    cursor.take("B")
    (step,) = cursor.take("I")
    return Image(stamp_ns, int(height), int(width), encoding, int(step), cursor.block())


def parse_scan(data: bytes) -> Scan:
    """Raises MalformedMessageError."""
    cursor = _Cursor(data)
    stamp_ns = cursor.stamp_ns()
    cursor.text()
    angle_min, _, increment, _, _, range_min, range_max = cursor.take("fffffff")
    if not (math.isfinite(angle_min) and math.isfinite(increment)) or math.isnan(range_min + range_max):
        raise MalformedMessageError("message: a scan whose angles or limits are not numbers; check the laser's driver")
    ranges = np.frombuffer(cursor.block(4), dtype=f"{cursor.order}f4").astype(np.float32, copy=False)
    return Scan(stamp_ns, angle_min, increment, range_min, range_max, ranges)
