"""Write serialized ROS messages without ROS."""

from __future__ import annotations

import struct


class Writer:
    """The inverse of the reader: plain CDR, little or big endian."""

    def __init__(self, order: str = "<") -> None:
        self.order, self.body = order, bytearray()

    def put(self, code: str, *values: float) -> Writer:
        self.body += bytes(-len(self.body) % struct.calcsize(f"={code[0]}"))
        self.body += struct.pack(self.order + code, *values)
        return self

    def text(self, text: str) -> Writer:
        self.put("I", len(text) + 1)
        self.body += text.encode() + b"\0"
        return self

    def bytes(self) -> bytes:
        return bytes([0, int(self.order == "<"), 0, 0]) + bytes(self.body)
