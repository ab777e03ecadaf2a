"""Fields of a serialized ROS message, one after another, without a ROS installation.

cursor = Cursor(data)
stamp_s = cursor.stamp_ns() / 1e9
frame = cursor.text()
"""

from __future__ import annotations

import struct
from typing import Any

from model_registry.core.errors import HomeportError


class MalformedMessageError(HomeportError):
    """A message's bytes do not hold what its type says."""


class Cursor:
    """Reads aligned CDR fields in order. Every method raises MalformedMessageError when the bytes end too soon."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 4 or data[0] != 0 or data[1] not in (0, 1):
            raise MalformedMessageError("message: no plain CDR header; check the publisher's middleware")
        self.order = "<" if data[1] else ">"
        self._body = memoryview(data)[4:]
        self._at = 0

    def _next(self, size: int, alignment: int) -> memoryview:
        start = self._at + -self._at % alignment
        self._at = start + size
        if self._at > len(self._body):
            raise MalformedMessageError(f"message: ends after {len(self._body)} bytes; check its publisher")
        return self._body[start : self._at]

    def take(self, code: str) -> tuple[Any, ...]:
        """Fields of one size: `code` is a struct code such as `II` or `7f`."""
        layout = self.order + code
        return struct.unpack(layout, self._next(struct.calcsize(layout), struct.calcsize(f"={code[-1]}")))

    def block(self, item_bytes: int = 1) -> memoryview:
        """A sequence: its bytes. An empty one is not aligned to its items."""
        (count,) = self.take("I")
        return self._next(count * item_bytes, item_bytes) if count else self._body[:0]

    def text(self) -> str:
        return bytes(self.block()).rstrip(b"\0").decode("utf-8", "replace")

    def stamp_ns(self) -> int:
        seconds, nanoseconds = self.take("iI")
        return int(seconds * 1_000_000_000 + nanoseconds)

    @property
    def rest(self) -> memoryview:
        """What was not taken yet."""
        return self._body[self._at :]
