"""The test vectors and the calibration data of a model: .npz files of its inputs, one set or a stack of sets each."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import UsageError
from stack.engine.backends import Tensor

_MAX_BYTES = 256 << 20
_MAX_CALIBRATION = 256

Tables = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class GoldenSample:
    """One golden: the network's inputs and the action chunk [horizon, dims] they must give."""

    inputs: dict[str, Tensor]
    action: NDArray[np.float32]
    tolerance: float


def read_goldens(model: Path, contract: Contract, precision: str) -> list[GoldenSample]:
    """Read the model's golden files. Raises UsageError naming the file."""
    samples: list[GoldenSample] = []
    for golden in contract.goldens:
        if precision not in golden.tolerance:
            raise UsageError(f"{golden.path}: no tolerance for precision {precision}; add one to vla.json")
        tables = _tables(model, golden.path)
        tolerance = golden.tolerance[precision]
        if "action" not in tables:
            raise UsageError(f"{golden.path}: no array 'action'; it has {', '.join(sorted(tables))}")
        actions = tables["action"].astype(np.float32).reshape(-1, contract.horizon, len(contract.dims))
        inputs = _inputs(golden.path, tables, contract, len(actions))
        samples += [GoldenSample(each, action, tolerance) for each, action in zip(inputs, actions, strict=True)]
    if not samples:
        raise UsageError(f"{model}: its goldens are empty; add at least one")
    return samples


def read_calibration(model: Path, contract: Contract) -> list[dict[str, Tensor]]:
    """Read at most 256 sets of inputs to choose int8 scales by.

    Raises UsageError when the model has none, or naming the file.

    The goldens are not taken instead: scales made for them would pass a gate that asks about nothing else.
    """
    if not contract.calibration:
        raise UsageError(f"{model}: precision int8 needs calibration data; add `calibration` to vla.json")
    sets: list[dict[str, Tensor]] = []
    for path in contract.calibration:
        tables = _tables(model, path)
        first = contract.inputs[0]
        count = tables[first.name].size // math.prod(first.shape) if first.name in tables else 1
        sets += islice(_inputs(path, tables, contract, count), _MAX_CALIBRATION - len(sets))
    return sets


def _tables(model: Path, path: str) -> Tables:
    try:
        with zipfile.ZipFile(model / path) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MAX_BYTES:
                raise UsageError(f"{path}: unpacks to more than {_MAX_BYTES} bytes; split it")
        with np.load(model / path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not readable as arrays ({error}); write it with numpy.savez") from error


def _inputs(path: str, tables: Tables, contract: Contract, count: int) -> Iterator[dict[str, Tensor]]:
    if missing := sorted({item.name for item in contract.inputs} - set(tables)):
        raise UsageError(f"{path}: no array {missing[0]!r}; it has {', '.join(sorted(tables))}")
    stacks: dict[str, Tensor] = {}
    for item in contract.inputs:
        stack = tables[item.name]
        if stack.size != count * math.prod(item.shape):
            raise UsageError(f"{path}: {item.name} is {stack.shape}, vla.json says {item.shape} each; export it again")
        stacks[item.name] = stack.reshape(count, *item.shape).astype(item.dtype)
    yield from ({name: stack[index] for name, stack in stacks.items()} for index in range(count))
