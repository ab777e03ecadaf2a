"""The gate `prove`: what an engine must show on this device before it may drive.

Parity with the model's goldens in the units of the action, only finite numbers, the same answer twice, a p99 latency
with every core busy and a peak memory within the release's budget. A backend that is not the release's first choice is
degraded: its latency budget is what the cadence allows, since the release's was made for the first choice, and the
verdict says `degraded-hw`. docs/schemas/gate.schema.json is the result.
"""

from __future__ import annotations

import contextlib
import math
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Recipe
from model_registry.core.robot import ACTION_MAX_AGE_S
from stack.engine.goldens import GoldenSample
from stack.engine.hog import every_core_busy
from stack.engine.inference import Inference
from stack.engine.observing import Steps

WARM_UP_RUNS = 10
TIMED_RUNS = 100


def prove(
    inference: Inference,
    samples: list[GoldenSample],
    recipe: Recipe,
    *,
    degraded: bool = False,
    oldest_s: float = ACTION_MAX_AGE_S,
) -> GateResult:
    """Run every check on what a slot will run: from raw observations to actions in units.

    `oldest_s`: how old an observation may be on this robot when an action is carried out.
    """
    with contextlib.suppress(OSError):  # forget the peak of earlier work, such as building, where the kernel lets us
        Path("/proc/self/clear_refs").write_text("5")
    contract = inference.contract
    for _ in range(WARM_UP_RUNS):
        inference(samples[0].seen)
    with np.errstate(over="ignore", invalid="ignore"):
        chunks, again = (np.stack([inference(item.seen).actions for item in samples]) for _ in range(2))
    bad = int(np.sum(~np.isfinite(chunks)))
    with every_core_busy():
        p99_ms = float(np.percentile(_time_runs(inference, samples), 99))
    cadence_ms = contract.action.longest_inference_s(oldest_s) * 1e3
    memory = _peak_memory_bytes() + inference.graphs.device_bytes
    budget_ms = cadence_ms if degraded else recipe.inference_p99_ms
    what = inference.identity
    how = f"p99 of {TIMED_RUNS} warm runs of {what.name} in {what.precision} with every core busy"
    checks = (
        _at_most("non_finite", bad, 0.0, f"numbers that are not finite in {len(chunks)} golden actions"),
        *_parity(chunks, samples, contract),
        _repeats(chunks, again, samples),
        _at_most("inference_p99_ms", p99_ms, budget_ms, how),
        _at_most(
            "cadence_ms", p99_ms, cadence_ms, "p99 within the actions that are carried out, less one control period"
        ),
        _at_most("peak_memory_bytes", memory, recipe.peak_memory_bytes, "memory here and on the device while proving"),
    )
    result = GateResult.of("prove", checks)
    return replace(result, verdict="degraded-hw") if degraded and result.passed else result


def _at_most(metric: str, value: float, threshold: float, text: str) -> Check:
    """NaN is more than anything."""
    return Check(metric, _finite(value), float(threshold), value <= threshold, text)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _parity(chunks: Steps, samples: list[GoldenSample], contract: Contract) -> Iterator[Check]:
    gaps = np.abs(chunks - np.stack([sample.action for sample in samples]))  # [goldens, horizon, dims]
    limits = np.stack([sample.tolerance for sample in samples])  # [goldens, dims]
    within = gaps <= limits[:, None, :]  # NaN is not
    for index, dim in enumerate(contract.action.dims):
        value = float(np.max(gaps[:, :, index]))
        ok = bool(within[:, :, index].all())
        text = f"largest difference from {len(samples)} goldens, {dim.unit}"
        yield Check(f"parity_{dim.name}", _finite(value), float(limits[:, index].min()), ok, text)


def _repeats(chunks: Steps, again: Steps, samples: list[GoldenSample]) -> Check:
    """The same twice, judged by the dimension that comes nearest to its tolerance."""
    limits = np.min(np.stack([sample.tolerance for sample in samples]), axis=0)
    gaps = np.max(np.abs(chunks - again), axis=(0, 1))
    worst = int(np.argmax(np.nan_to_num(gaps / limits, nan=np.inf)))
    return _at_most("repeat_difference", float(gaps[worst]), float(limits[worst]), "same input twice")


def _time_runs(inference: Inference, samples: list[GoldenSample]) -> list[float]:
    """Milliseconds of `TIMED_RUNS` inferences, in turn over the samples."""
    times = []
    for number in range(TIMED_RUNS):
        seen = samples[number % len(samples)].seen
        start = time.monotonic()
        inference(seen)
        times.append((time.monotonic() - start) * 1e3)
    return times


def _peak_memory_bytes() -> int:
    """The largest resident size of this process since its peak was last forgotten."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
