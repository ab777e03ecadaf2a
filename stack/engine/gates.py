"""The gate `prove`: what an engine must show on this device before it may drive.

Parity with the model's goldens in the units of the action, only finite numbers, the same answer twice, a p99 latency and a peak
memory within the release's budget. The result follows docs/schemas/gate.schema.json.
"""

from __future__ import annotations

import resource
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.release import Recipe
from stack.engine.backends import Backend, Tensor
from stack.engine.normalization import Normalization

WARM_UP_RUNS = 10
TIMED_RUNS = 100
_MAX_GOLDEN_BYTES = 256 << 20


@dataclass(frozen=True)
class Check:
    """One figure beside its threshold. `value` is None when there is no finite figure."""

    metric: str
    value: float | None
    threshold: float | None
    ok: bool
    text: str


@dataclass(frozen=True)
class Result:
    """What a gate found."""

    gate: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        return bool(self.checks) and all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, object]:
        verdict = "healthy" if self.healthy else "unhealthy"
        return {"schema": 1, "gate": self.gate, "verdict": verdict, "checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True)
class Sample:
    """One golden: the network's inputs and the action chunk [horizon, dims] they must give."""

    name: str
    inputs: dict[str, Tensor]
    action: NDArray[np.float32]
    tolerance: float


def read_goldens(model: Path, contract: Contract, precision: str) -> Iterator[Sample]:
    """Read the model's golden files, one chunk or a stack of them each. Raises UsageError naming the file."""
    for golden in contract.goldens:
        if precision not in golden.tolerance:
            raise UsageError(f"{golden.path}: no tolerance for precision {precision}; add one to vla.json")
        try:
            with zipfile.ZipFile(model / golden.path) as archive:
                if sum(item.file_size for item in archive.infolist()) > _MAX_GOLDEN_BYTES:
                    raise UsageError(f"{golden.path}: unpacks to more than {_MAX_GOLDEN_BYTES} bytes; split it")
            with np.load(model / golden.path, allow_pickle=False) as arrays:
                tables = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UsageError(f"{golden.path}: not readable as goldens ({error}); write it with numpy.savez") from error
        yield from _samples(golden.path, tables, contract, golden.tolerance[precision])


def _samples(
    path: str, tables: Mapping[str, NDArray[np.generic]], contract: Contract, tolerance: float
) -> Iterator[Sample]:
    wanted = {"action", *(item.name for item in contract.inputs)}
    if missing := sorted(wanted - set(tables)):
        raise UsageError(f"{path}: no array {missing[0]!r}; it has {', '.join(sorted(tables))}")
    shape = contract.output_shape[1:]
    actions = tables["action"].astype(np.float32).reshape(-1, *shape)
    for number in range(len(actions)):
        inputs: dict[str, Tensor] = {}
        for item in contract.inputs:
            stack = tables[item.name]
            if stack.size != len(actions) * int(np.prod(item.shape)):
                raise UsageError(
                    f"{path}: {item.name} is {stack.shape}, vla.json says {item.shape} each; export it again"
                )
            one = stack.reshape(len(actions), *item.shape)[number]
            inputs[item.name] = np.ascontiguousarray(one, dtype=np.dtype(item.dtype))
        yield Sample(path, inputs, actions[number], tolerance)


def prove(backend: Backend, samples: list[Sample], contract: Contract, units: Normalization, recipe: Recipe) -> Result:
    """Run every check on a loaded backend."""
    reset_peak_memory()
    backend.warm_up(samples[0].inputs, WARM_UP_RUNS)
    chunks = [units.actions(backend.infer(sample.inputs)) for sample in samples]
    again = [units.actions(backend.infer(sample.inputs)) for sample in samples]
    p99_ms = percentile(time_runs(backend, samples), 99.0)
    cadence_ms = longest_inference_ms(contract)
    peak = peak_memory_bytes()
    memory, budget_ms = recipe.peak_memory_bytes, recipe.inference_p99_ms
    checks = (
        _finite(chunks),
        *_parity(chunks, samples, contract),
        _deterministic(chunks, again, samples),
        Check("inference_p99_ms", p99_ms, budget_ms, p99_ms <= budget_ms, f"p99 of {TIMED_RUNS} warm runs"),
        Check(
            "cadence_ms", p99_ms, cadence_ms, p99_ms <= cadence_ms, "p99 within execute_steps less one control period"
        ),
        Check("peak_memory_bytes", float(peak), float(memory), peak <= memory, "resident memory while proving"),
    )
    return Result("prove", checks)


def longest_inference_ms(contract: Contract) -> float:
    """The longest p99 that still leaves no hole between action chunks: execute_steps less one period, in ms."""
    return (contract.execute_steps - 1) * 1e3 / contract.control_hz


def _finite(chunks: list[NDArray[np.float32]]) -> Check:
    count = sum(int(np.count_nonzero(~np.isfinite(chunk))) for chunk in chunks)
    return Check(
        "non_finite", float(count), 0.0, count == 0, f"numbers that are not finite in {len(chunks)} golden actions"
    )


def _parity(chunks: list[NDArray[np.float32]], samples: list[Sample], contract: Contract) -> Iterator[Check]:
    tolerance = min(sample.tolerance for sample in samples)
    for index, dim in enumerate(contract.dims):
        gaps = [np.abs(chunk[:, index] - item.action[:, index]) for chunk, item in zip(chunks, samples, strict=True)]
        worst = max(float(np.max(gap / item.tolerance)) for gap, item in zip(gaps, samples, strict=True))
        value = max(float(np.max(gap)) for gap in gaps)
        finite = bool(np.isfinite(value))
        text = f"largest difference from {len(samples)} goldens, {dim.unit}"
        yield Check(f"parity_{dim.name}", value if finite else None, tolerance, finite and worst <= 1.0, text)


def _deterministic(chunks: list[NDArray[np.float32]], again: list[NDArray[np.float32]], samples: list[Sample]) -> Check:
    gaps = [float(np.max(np.abs(one - two))) for one, two in zip(chunks, again, strict=True)]
    value, tolerance = max(gaps), min(sample.tolerance for sample in samples)
    finite = bool(np.isfinite(value))
    return Check(
        "repeat_difference", value if finite else None, tolerance, finite and value <= tolerance, "same input twice"
    )


def time_runs(backend: Backend, samples: list[Sample], runs: int = TIMED_RUNS) -> list[float]:
    """Milliseconds of `runs` inferences, in turn over the samples."""
    times = []
    for number in range(runs):
        start = time.monotonic()
        backend.infer(samples[number % len(samples)].inputs)
        times.append((time.monotonic() - start) * 1e3)
    return times


def percentile(times: list[float], percent: float) -> float:
    return float(np.percentile(times, percent))


def reset_peak_memory() -> None:
    """Forget the peak of earlier work, such as building, where the kernel lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_bytes() -> int:
    """The largest resident size since `reset_peak_memory`."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused(error: HomeportError) -> Result:
    """The result of an engine that could not even be tried."""
    return Result("prove", (Check("loads", None, None, False, str(error)),))
