"""Goldens and calibration data: .npz files of raw observations, that a robot can unpack and read.

Sizes are summed from the archive's own directory before anything is unpacked. Arrays are never loaded: their headers
are read, so that objects in them, which would run code in whoever loads them carelessly, cannot do so here.
"""

from __future__ import annotations

import ast
import lzma
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.contract.vectors import MOST_BYTES, wanted_arrays
from model_registry.core.errors import UsageError
from model_registry.core.reasons import reason
from model_registry.inspection.findings import Findings

_PIECE = 1 << 20
_ZIP = b"PK"
_MAGIC = b"\x93NUMPY"
_HEADER_BYTES = 65_536
_KEYS = {"descr", "fortran_order", "shape"}
_PLAIN = re.compile("[<>|=](b1|[iu][1248]|f[248])|[<>=]U[0-9]{1,6}")
_DAMAGE = (OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Array:
    """One array of an .npz file, as its header says: `dtype` in numpy's words, such as <f4."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its elements."""
        return math.prod(self.shape)


def check_vectors(folder: Path, contract: Contract, pointers: frozenset[str], findings: Findings) -> None:
    """Refuse goldens and calibration data that a robot could not read, or that are of another model."""
    for path in (*(golden.path for golden in contract.goldens), *contract.calibration):
        if path in pointers:
            continue
        golden = path not in contract.calibration
        try:
            arrays = read_headers(folder / path)
            _check_sets(arrays, contract, golden)
        except UsageError as error:
            findings.refuse(path, str(error))


def read_headers(path: Path) -> dict[str, Array]:
    """The arrays in an .npz file by name, every byte of which was unpacked once and thrown away.

    Raises UsageError when it is no such file, too large, or holds anything but plain numbers.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            file.seek(0)
            if file.read(2) != _ZIP:  # numpy looks there, zipfile elsewhere
                raise zipfile.BadZipFile("it does not begin like one")
            members = archive.infolist()
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise UsageError(f"unpacks to more than {MOST_BYTES >> 20} MiB; split it into several files")
            found = {item.filename.removesuffix(".npy"): _read_array(archive, item) for item in members}
    except (*_DAMAGE, lzma.LZMAError) as error:
        raise UsageError(f"is not a readable .npz file ({reason(error)}); write it with numpy.savez") from error
    if not found:
        raise UsageError("holds no arrays; write inputs and expected actions with numpy.savez")
    return found


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        head = file.read(12 + _HEADER_BYTES)
        array, start = _read_header(head, member.filename)
        length = len(head)
        while piece := file.read(_PIECE):  # its checksum is compared at the end
            length += len(piece)
    itemsize = int(array.dtype[2:]) * (4 if array.dtype[1] == "U" else 1)
    if length != start + array.size * itemsize:
        raise UsageError(f"its array {member.filename!r} is cut off; write it with numpy.savez")
    return array


def _read_header(data: bytes, name: str) -> tuple[Array, int]:
    """An array and where its numbers begin."""
    if data[:6] != _MAGIC or len(data) < 12:
        raise UsageError(f"{name!r} in it is not a numpy array; write it with numpy.savez")
    wide = data[6] >= 2
    (length,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    start = 12 if wide else 10
    try:
        header = ast.literal_eval(data[start : start + length].decode("latin-1").strip())
        dtype = header["descr"]
        shape = tuple(header["shape"])
        complete = header.keys() == _KEYS and isinstance(header["fortran_order"], bool)
    except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, MemoryError, RecursionError) as error:
        raise UsageError(f"the header of {name!r} in it cannot be read; write it with numpy.savez") from error
    if not isinstance(dtype, str) or not _PLAIN.fullmatch(dtype):
        raise UsageError(f"{name!r} in it holds {dtype!r}; only plain numbers and words are allowed in goldens")
    if not complete or any(type(axis) is not int or axis < 0 for axis in shape):
        raise UsageError(f"{name!r} in it has the shape {list(shape)}; write it with numpy.savez")
    return Array(dtype, shape), start + length


def _check_sets(arrays: dict[str, Array], contract: Contract, golden: bool) -> None:
    """Whether every array that the contract asks for is there, with as many sets as the others. Raises UsageError."""
    wanted = wanted_arrays(contract, golden=golden)
    if missing := [name for name in wanted if name not in arrays]:
        have = ", ".join(sorted(arrays))
        raise UsageError(f"has no array {missing[0]!r}, only {have}; add it under that name")
    known = wanted_arrays(contract, golden=True)
    if extra := sorted(arrays.keys() - known.keys()):
        raise UsageError(
            f"has an array {extra[0]!r} that vla.json does not ask for; rename it to one of {', '.join(known)}, or "
            "remove it"
        )
    first = next(iter(wanted))
    for name, form in wanted.items():
        array = arrays[name]
        if said := form.refuse(array.dtype, array.shape):
            raise UsageError(f"its array {name!r} {said}; make them agree")
        if array.shape[0] != arrays[first].shape[0]:
            raise UsageError(
                f"its array {name!r} has {array.shape[0]} sets and {first!r} {arrays[first].shape[0]}; give each the "
                "same number"
            )
