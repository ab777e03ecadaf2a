"""Read small tensors of a safetensors file with the standard library: a JSON header, then plain numbers.

Nothing in such a file is code. Sizes are compared with the file before anything is read.

    tensors = read_tensors(Path("policy_preprocessor_step_3_normalizer_processor.safetensors"))
    tensors["action.mean"].numbers
"""

from __future__ import annotations

import json
import math
import struct
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_registry.core.errors import NotFoundError, UsageError

_MOST_HEADER = 16 << 20
_MOST_BYTES = 64 << 20
_LENGTH = struct.Struct("<Q")
_CODES = {"F64": "d", "F32": "f", "I64": "q", "I32": "i"}
_SIZES = {"F64": 8, "F32": 4, "I64": 8, "I32": 4}


@dataclass(frozen=True)
class SmallTensor:
    """A shape, and all numbers in its order."""

    shape: tuple[int, ...]
    numbers: tuple[float, ...]


def read_tensors(path: Path) -> dict[str, SmallTensor]:
    """Every tensor of a file of at most 64 MiB by its name; those of other types than float and int are left out.

    Raises NotFoundError or UsageError naming the file.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror}); copy the directory again") from error
    if size > _MOST_BYTES:
        raise UsageError(f"{path}: {size} bytes, at most {_MOST_BYTES} are read; statistics are smaller")
    try:
        return _tensors(data)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise UsageError(f"{path}: is not a safetensors file ({error}); copy the directory again") from error


def _tensors(data: bytes) -> dict[str, SmallTensor]:
    (length,) = _LENGTH.unpack_from(data)
    if length > min(_MOST_HEADER, len(data) - _LENGTH.size):
        raise ValueError("its header is cut off")
    header = json.loads(data[_LENGTH.size : _LENGTH.size + length])
    if not isinstance(header, dict):
        raise TypeError("its header is no object")
    body = memoryview(data)[_LENGTH.size + length :]
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _CODES:
            found[name] = _tensor(name, entry, body)
    return found


def _tensor(name: str, entry: Mapping[str, Any], body: memoryview) -> SmallTensor:
    shape = tuple(int(size) for size in entry["shape"])
    begin, end = entry["data_offsets"]
    wanted = math.prod(shape) * _SIZES[entry["dtype"]]
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(body) or end - begin != wanted:
        raise ValueError(f"tensor {name!r} is cut off")
    numbers = array(_CODES[entry["dtype"]], bytes(body[begin:end]))
    if sys.byteorder == "big":
        numbers.byteswap()
    short = _shortest if entry["dtype"] == "F32" else float
    return SmallTensor(shape, tuple(short(number) for number in numbers))


def _shortest(number: float) -> float:
    """The number with the fewest digits that is the same in 32 bits: 0.1 and not 0.10000000149011612."""
    for digits in range(6, 9):
        short = float(f"{number:.{digits}g}")
        if array("f", [short])[0] == number:
            return short
    return float(f"{number:.9g}")
