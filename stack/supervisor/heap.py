"""Gives the memory that long messages needed back to the system, so that nobody can make the supervisor large for good.

Two keep it: Fast DDS keeps the longest buffer that each of its cache entries ever had, and the C library keeps freed
blocks for later.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import MutableMapping
from pathlib import Path
from xml.etree import ElementTree

_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
_USE_PROFILES = "RMW_FASTRTPS_USE_QOS_FROM_XML"
_XML = {"dds": "http://www.eprosima.com"}
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 131_072


def give_back() -> None:
    """Call before rclpy starts."""
    free_large_blocks_at_once()
    use_profiles(os.environ)


def free_large_blocks_at_once() -> None:
    """Let the C library return a block of 128 KiB or more when it is freed.

    By itself it raises this limit with the largest block that it saw.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def use_profiles(environment: MutableMapping[str, str]) -> None:
    """Let the middleware take its readers' memory policy from the DDS profile.

    Only where the profile has one that frees a buffer after use (DYNAMIC).

    With a profile that has none it would take a policy that drops every message longer than the first: there nothing is
    changed.
    """
    path = environment.get(_PROFILES)
    if path and _frees(Path(path)):
        environment[_USE_PROFILES] = "1"


def _frees(path: Path) -> bool:
    """Whether a file's default profiles of readers and writers keep no buffer for good and lose no long message."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return False
    found = {kind: _memory_policy(root, kind) for kind in ("data_reader", "data_writer")}
    return found == {"data_reader": "DYNAMIC", "data_writer": "PREALLOCATED_WITH_REALLOC"}


def _memory_policy(root: ElementTree.Element, kind: str) -> str | None:
    default = root.find(f".//dds:{kind}[@is_default_profile='true']", _XML)
    return None if default is None else default.findtext("dds:historyMemoryPolicy", None, _XML)
