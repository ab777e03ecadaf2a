"""The weights of a graph: each is there, as long as its shape asks for, and inside of the model.

PyTorch writes the weights of every graph into a second file, whatever their size, and other exporters into one file a
tensor. Such files belong to the model: they are listed in vla.json, and the graph names them by a plain path from the
folder that it lies in.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from model_registry.core.contract import Contract
from model_registry.core.onnx_parts import bytes_of, external, tensors
from model_registry.inspection.findings import Findings

_STRING = 8
_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
# What a file of weights may end with: by these an engine knows that it has to be built again.
WEIGHT_SUFFIXES = frozenset({".data", ".onnx_data", ""})
_ONE_FILE = "export it again with its weights in one file beside it"


def place_of(tensor: Any) -> tuple[str, int]:  # noqa: ANN401 — onnx has no types
    """The file that holds an external tensor, as the graph names it, and where its numbers begin in it, in bytes."""
    entries = {item.key: item.value for item in tensor.external_data}
    return entries.get("location", ""), _number(entries.get("offset", "0"))


def check_tensors(
    folder: Path,
    path: str,
    model: Any,  # noqa: ANN401
    contract: Contract,
    pointers: frozenset[str],
    findings: Findings,
) -> None:
    """Refuse weights that are missing, cut off or outside of the model: one sentence for each kind of fault."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tensor in tensors(model):
        fault = _outside(folder, path, tensor, contract, pointers) if external(tensor) else _inside(tensor)
        if fault:
            names[fault].append(tensor.name)
    for fault, faulty in names.items():
        others = f" and {len(faulty) - 1} others" if len(faulty) > 1 else ""
        findings.refuse(path, f"tensor {faulty[0]!r}{others}: {fault}")


def _inside(tensor: Any) -> str | None:  # noqa: ANN401
    """What is wrong with a tensor whose numbers are in the graph itself."""
    if tensor.data_type == _STRING:
        return None
    wanted = bytes_of(tensor)
    if wanted is None:
        return f"its type {tensor.data_type} or shape {list(tensor.dims)} is not one of ONNX; export it again"
    if tensor.HasField("raw_data"):
        have = len(tensor.raw_data)
        return None if have == wanted else f"it has {have} bytes of {wanted}; export it again"
    if wanted and not any(len(getattr(tensor, name)) for name in _TYPED):
        return "its numbers are missing; export the graph again with its weights"
    return None


def _outside(
    folder: Path,
    path: str,
    tensor: Any,  # noqa: ANN401
    contract: Contract,
    pointers: frozenset[str],
) -> str | None:
    """What is wrong with a tensor whose numbers are in another file."""
    location, offset = place_of(tensor)
    pure = PurePosixPath(location)
    if not location or pure.is_absolute() or ".." in pure.parts or "\\" in location or ":" in location:
        return f"its numbers lie in {location!r}, which is not a path inside of the model; {_ONE_FILE}"
    file = (PurePosixPath(path).parent / pure).as_posix()
    if pure.suffix not in WEIGHT_SUFFIXES:
        return f"its numbers lie in {file}, which is not called like weights (NAME.data); {_ONE_FILE}"
    if file not in contract.files:
        return f"its numbers lie in {file}, which vla.json does not list; copy that file here and list it in files"
    if file in pointers:
        return None  # said already
    wanted = bytes_of(tensor)
    if wanted is None:
        return f"its type {tensor.data_type} cannot lie in another file; {_ONE_FILE}"
    said = {item.key: item.value for item in tensor.external_data}.get("length", str(wanted))
    if _number(said) != wanted:
        return f"it says {said} bytes in {file}, and its shape {list(tensor.dims)} asks for {wanted}; {_ONE_FILE}"
    size = (folder / file).stat().st_size
    if offset < 0 or offset + wanted > size:
        return (
            f"its {wanted} bytes begin at {offset} of {file}, which has {size}; the file is cut off or of another "
            "graph: copy it here again"
        )
    return None


def _number(text: str) -> int:
    """An offset or a length as written; -1 where it is no number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
