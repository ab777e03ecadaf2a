"""The gate `prove`: what an engine must show on this device before it may drive.

Parity with the model's goldens in the units of the action, only finite numbers, the same answer twice, a p99 latency and a peak
memory within the release's budget. The result follows docs/schemas/gate.schema.json.
"""

from __future__ import annotations

import contextlib
import math
import resource
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import UsageError
from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Recipe
from stack.engine.backends import Backend, Tensor
from stack.engine.normalization import Normalization

WARM_UP_RUNS = 10
TIMED_RUNS = 100
_MAX_GOLDEN_BYTES = 256 << 20


@dataclass(frozen=True)
class Sample:
    """One golden: the network's inputs and the action chunk [horizon, dims] they must give."""

    inputs: dict[str, Tensor]
    action: NDArray[np.float32]
    tolerance: float


def read_goldens(model: Path, contract: Contract, precision: str) -> list[Sample]:
    """Read the model's golden files, one chunk or a stack of them each. Raises UsageError naming the file."""
    samples: list[Sample] = []
    for golden in contract.goldens:
        if precision not in golden.tolerance:
            raise UsageError(f"{golden.path}: no tolerance for precision {precision}; add one to vla.json")
        try:
            with zipfile.ZipFile(model / golden.path) as archive:
                if sum(item.file_size for item in archive.infolist()) > _MAX_GOLDEN_BYTES:
                    raise UsageError(f"{golden.path}: unpacks to more than {_MAX_GOLDEN_BYTES} bytes; split it")
            with np.load(model / golden.path, allow_pickle=False) as arrays:
                tables = dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UsageError(f"{golden.path}: not readable as goldens ({error}); write it with numpy.savez") from error
        samples += _samples(golden.path, tables, contract, golden.tolerance[precision])
    if not samples:
        raise UsageError(f"{model}: its goldens are empty; add at least one")
    return samples


def _samples(
    path: str, tables: Mapping[str, NDArray[np.generic]], contract: Contract, tolerance: float
) -> Iterator[Sample]:
    if missing := sorted({"action", *(item.name for item in contract.inputs)} - set(tables)):
        raise UsageError(f"{path}: no array {missing[0]!r}; it has {', '.join(sorted(tables))}")
    actions = tables["action"].astype(np.float32).reshape(-1, *contract.output_shape[1:])
    stacks: dict[str, Tensor] = {}
    for item in contract.inputs:
        stack = tables[item.name]
        if stack.size != len(actions) * math.prod(item.shape):
            raise UsageError(f"{path}: {item.name} is {stack.shape}, vla.json says {item.shape} each; export it again")
        stacks[item.name] = stack.reshape(len(actions), *item.shape).astype(item.dtype)
    for number, action in enumerate(actions):
        yield Sample({name: stack[number] for name, stack in stacks.items()}, action, tolerance)


def prove(
    backend: Backend, samples: list[Sample], contract: Contract, units: Normalization, recipe: Recipe
) -> GateResult:
    """Run every check on a loaded backend."""
    with contextlib.suppress(OSError):  # forget the peak of earlier work, such as building, where the kernel lets us
        Path("/proc/self/clear_refs").write_text("5")
    for _ in range(WARM_UP_RUNS):
        backend.infer(samples[0].inputs)
    chunks, again = (np.stack([units.actions(backend.infer(item.inputs)) for item in samples]) for _ in range(2))
    bad, repeat = int(np.sum(~np.isfinite(chunks))), float(np.max(np.abs(chunks - again)))
    tolerance = min(sample.tolerance for sample in samples)
    p99_ms, cadence_ms = float(np.percentile(_time_runs(backend, samples), 99)), longest_inference_ms(contract)
    checks = (
        _at_most("non_finite", bad, 0.0, f"numbers that are not finite in {len(chunks)} golden actions"),
        *_parity(chunks, samples, contract),
        _at_most("repeat_difference", repeat, tolerance, "same input twice"),
        _at_most("inference_p99_ms", p99_ms, recipe.inference_p99_ms, f"p99 of {TIMED_RUNS} warm runs"),
        _at_most("cadence_ms", p99_ms, cadence_ms, "p99 within execute_steps less one control period"),
        _at_most("peak_memory_bytes", _peak_memory_bytes(), recipe.peak_memory_bytes, "resident memory while proving"),
    )
    return GateResult.of("prove", checks)


def _at_most(metric: str, value: float, threshold: float, text: str) -> Check:
    """NaN is more than anything."""
    return Check(metric, _finite(value), float(threshold), value <= threshold, text)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def longest_inference_ms(contract: Contract) -> float:
    """The longest p99 that still leaves no hole between action chunks: execute_steps less one period, in ms."""
    return (contract.execute_steps - 1) * 1e3 / contract.control_hz


def _parity(chunks: NDArray[np.float32], samples: list[Sample], contract: Contract) -> Iterator[Check]:
    tolerance = min(sample.tolerance for sample in samples)
    gaps = np.abs(chunks - np.stack([sample.action for sample in samples]))  # [goldens, horizon, dims]
    within = gaps <= np.asarray([sample.tolerance for sample in samples])[:, None, None]  # NaN is not
    for index, dim in enumerate(contract.dims):
        value, ok = float(np.max(gaps[:, :, index])), bool(within[:, :, index].all())
        text = f"largest difference from {len(samples)} goldens, {dim.unit}"
        yield Check(f"parity_{dim.name}", _finite(value), tolerance, ok, text)


def _time_runs(backend: Backend, samples: list[Sample]) -> list[float]:
    """Milliseconds of `TIMED_RUNS` inferences, in turn over the samples."""
    times = []
    for number in range(TIMED_RUNS):
        start = time.monotonic()
        backend.infer(samples[number % len(samples)].inputs)
        times.append((time.monotonic() - start) * 1e3)
    return times


def _peak_memory_bytes() -> int:
    """The largest resident size of this process since its peak was last forgotten."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
