"""What a slot would do with a model, tried on its publisher's desk: from raw observations to actions, golden by golden.

`check` also looks into every file as packing does, and asks the plan of a robot, so that everything that is wrong is
known at once and before anything is signed. Nothing is changed.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_registry.authoring import AUTHORED, ModelFolder, read_folder, unknowns
from model_registry.core.contract import FILE_NAME, Contract
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.plan import Plan
from model_registry.core.robot import ACTION_MAX_AGE_S, Robot
from model_registry.inspection import look
from model_registry.inspection.findings import Findings
from stack.engine.goldens import GoldenSample, read_goldens
from stack.engine.inference import Inference
from stack.engine.packed import packed

PRECISION = "fp32"
_RECIPE = "make the recipes of observation and action say what made the goldens, or give a tolerance that can be kept"


@dataclass(frozen=True)
class DimensionCheck:
    """The worst difference of one action dimension from its goldens, in its unit, and where; None is not finite.

    `model` is empty, or the folder of a smaller variant.
    """

    model: str
    name: str
    unit: str
    worst: float | None
    tolerance: float
    golden: str
    ok: bool


@dataclass
class ModelCheck:
    """`refusals`: one sentence each, none where the model can be packed and answers as its goldens say.

    `inference_ms` is the median of all runs on this machine with one thread, `cadence_ms` the most that a robot has.
    """

    model: str
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dimensions: list[DimensionCheck] = field(default_factory=list)
    goldens: int = 0
    inference_ms: float | None = None
    cadence_ms: float | None = None


class _Run(NamedTuple):
    golden: str
    sample: GoldenSample
    actions: NDArray[np.float32]


def check(folder: Path, robot: Robot | None = None) -> ModelCheck:
    """Everything that is wrong with a model folder. Raises UsageError for what is none, HomeportError without `onnx`.

    With `robot`, also whatever the model wants and that robot has not.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder; name the folder that holds {AUTHORED} or {FILE_NAME}")
    made = ModelCheck(str(folder))
    made.refusals += unknowns(folder)
    if made.refusals:
        return made
    try:
        found = read_folder(folder)
    except HomeportError as error:
        made.refusals.append(str(error))
        return made
    made.model = f"{found.contract.name} {found.contract.version}"
    findings = Findings(documents=found.made)
    look(folder, found.contract, findings)
    made.refusals += findings.refusals
    made.notes += findings.notes
    if robot is not None:
        made.refusals += Plan.of(found.contract, robot).refusals
    oldest_s = ACTION_MAX_AGE_S if robot is None else robot.safety.action_max_age_s
    for prefix, contract in _with_variants(found):
        _try_out(made, folder / prefix, prefix, contract, oldest_s)
    return made


def _with_variants(found: ModelFolder) -> Iterator[tuple[str, Contract]]:
    """The model itself, and each smaller variant of it, by the folder in it; one that cannot be read was refused."""
    yield "", found.contract
    for name in found.contract.variants:
        document = found.made.get(f"{name}/{FILE_NAME}")
        try:
            yield f"{name}/", Contract.load(found.path / name) if document is None else Contract.parse(document)
        except HomeportError:
            continue


def _try_out(made: ModelCheck, folder: Path, prefix: str, contract: Contract, oldest_s: float) -> None:
    """Run all goldens of one contract, and add what came of it. `oldest_s`: how old an observation may be."""
    if not contract.goldens:
        made.refusals.append(f"{prefix}{FILE_NAME}.goldens: a model without goldens cannot be proved; add at least one")
        return
    known = len(made.refusals)
    try:
        model = packed(folder, contract)
        runs, times = _run(folder, contract, model)
    except HomeportError as error:
        if not known:  # otherwise the same was said already
            made.refusals.append(f"{prefix}{error}")
        return
    if not prefix:
        made.inference_ms = statistics.median(times)
        made.cadence_ms = contract.action.longest_inference_s(oldest_s) * 1e3
    made.goldens += len(runs)
    dimensions = list(_compared(runs, contract, prefix))
    made.dimensions += dimensions
    made.refusals += [_refusal(each) for each in dimensions if not each.ok]
    made.refusals += _unsteady(model, runs[0], prefix)
    made.notes += _beyond(runs, contract, prefix)


def _run(folder: Path, contract: Contract, model: Inference) -> tuple[list[_Run], list[float]]:
    runs = []
    times = []
    for golden in contract.goldens:
        for sample in read_goldens(folder, replace(contract, goldens=(golden,)), PRECISION):
            start = time.monotonic()
            with np.errstate(over="ignore", invalid="ignore"):
                actions = model(sample.seen).actions
            times.append((time.monotonic() - start) * 1e3)
            runs.append(_Run(golden.path, sample, actions))
    return runs, times


def _compared(runs: Sequence[_Run], contract: Contract, prefix: str) -> Iterator[DimensionCheck]:
    """The run of each dimension that comes nearest to its tolerance, or goes farthest beyond it."""
    gaps = np.stack([np.abs(run.actions - run.sample.action).max(axis=0) for run in runs])  # [goldens, dims]
    limits = np.stack([run.sample.tolerance for run in runs])
    shares = np.nan_to_num(gaps / limits, nan=np.inf)
    for index, dim in enumerate(contract.action.dims):
        worst = int(np.argmax(shares[:, index]))
        gap = float(gaps[worst, index])
        limit = float(limits[worst, index])
        yield DimensionCheck(
            model=prefix,
            name=dim.name,
            unit=dim.unit,
            worst=gap if math.isfinite(gap) else None,
            tolerance=limit,
            golden=f"{prefix}{runs[worst].golden}",
            ok=gap <= limit,
        )


def _refusal(each: DimensionCheck) -> str:
    if each.worst is None:
        return f"{each.golden}: {each.name} comes out as a number that is not finite; export the graph again"
    return (
        f"{each.golden}: {each.name} is wrong by {each.worst:.6g} {each.unit}, and its tolerance is "
        f"{each.tolerance:.6g} {each.unit}; {_RECIPE}"
    )


def _unsteady(model: Inference, first: _Run, prefix: str) -> Iterator[str]:
    with np.errstate(over="ignore", invalid="ignore"):
        again = model(first.sample.seen).actions
    if not np.array_equal(first.actions, again, equal_nan=True):
        gap = float(np.nanmax(np.abs(first.actions - again)))
        yield (
            f"{prefix}{first.golden}: the same observation gives two answers, {gap:.6g} apart; let the graph take its "
            "noise from observation.noise, and export it again"
        )


def _beyond(runs: Sequence[_Run], contract: Contract, prefix: str) -> Iterator[str]:
    """Golden actions that a slot would cut."""
    for index, dim in enumerate(contract.action.dims):
        for run in runs:
            low = float(run.sample.action[:, index].min())
            high = float(run.sample.action[:, index].max())
            if low < dim.min or high > dim.max:
                yield (
                    f"{prefix}{run.golden}: {dim.name} goes from {low:.6g} to {high:.6g} {dim.unit}, and slots cut it "
                    f"to {dim.min:g} to {dim.max:g}, the range of the contract"
                )
                break
