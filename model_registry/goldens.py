"""Look at a golden file without unpacking it: an .npz that carries objects would run code in whoever loads it carelessly."""

from __future__ import annotations

import ast
import struct
import zipfile
from pathlib import Path

from model_registry.core.errors import UsageError

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 65_536


def check_npz(path: Path) -> tuple[str, ...]:
    """Names of the arrays in an .npz file. Raises UsageError when it holds none, or anything but plain numbers."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                with archive.open(name) as member:
                    _check_header(member.read(12 + _MAX_HEADER_BYTES), f"{path}: {name}")
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise UsageError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from error
    if not names:
        raise UsageError(f"{path}: holds no arrays; write inputs and expected actions with numpy.savez")
    return tuple(name.removesuffix(".npy") for name in names)


def _check_header(data: bytes, what: str) -> None:
    if data[:6] != _MAGIC or len(data) < 12:
        raise UsageError(f"{what}: not a numpy array; write it with numpy.savez")
    wide = data[6] >= 2
    (length,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    start = 12 if wide else 10
    try:
        header = ast.literal_eval(data[start : start + length].decode("latin-1").strip())
        kind = header["descr"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise UsageError(f"{what}: its header cannot be read; write it with numpy.savez") from error
    if not isinstance(kind, str) or kind[1:2] not in {"b", "i", "u", "f"}:
        raise UsageError(f"{what}: holds {kind!r}; only plain numbers are allowed in goldens")
