"""Filters that look at files on the controller."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


def file_digest(path: str) -> str:
    """The sha256 of a file on the controller, in hex; nothing for no path. Raises OSError."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


class FilterModule:
    """Makes the functions above filters."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {"homeport_file_digest": file_digest}
