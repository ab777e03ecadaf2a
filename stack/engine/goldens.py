"""Test vectors and calibration data: .npz files of raw observations, as a robot has them before anything is prepared.

Every array is a stack of sets along its first axis, one set an observation:

| array | holds |
|---|---|
| `cameras.<name>` | uint8 [sets, height, width, 3], RGB; with several frames [sets, frames, height, width, 3] |
| `goal` | uint8 [sets, height, width, 3] |
| `state` | float32 [sets, numbers] or [sets, frames, numbers], in the units and the order of the contract |
| `text` | words, numpy's unicode [sets] |
| `lidar.ranges` | float32 [sets, beams] in m |
| `lidar.limits` | [sets, 4]: first angle and increment (rad), least and most range (m) |
| `prefix` | float32 [sets, actions, dims] in units, a row of NaN behind the last one |
| `delay` | int64 [sets] |
| `seed` | int64 [sets]: decides the noise |
| `action` | float32 [sets, horizon, dims] in units: what must come out. Goldens have it, calibration data need not |
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.contract.observation import Observations
from model_registry.core.contract.vectors import MOST_BYTES, wanted_arrays
from model_registry.core.errors import UsageError
from stack.engine.observing import Frame, LaserScan, Observation

_MAX_CALIBRATION = 256

Tables = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GoldenSample:
    """One golden: an observation, the actions [horizon, dims] it must give, and the tolerance [dims] of each."""

    seen: Observation
    action: NDArray[np.float32]
    tolerance: NDArray[np.float64]


def read_goldens(model: Path, contract: Contract, precision: str) -> list[GoldenSample]:
    """Read the model's golden files. Raises UsageError naming the file."""
    samples: list[GoldenSample] = []
    shape = (-1, contract.action.horizon, len(contract.action.dims))
    for golden in contract.goldens:
        if precision not in golden.tolerance:
            raise UsageError(f"{golden.path}: no tolerance for precision {precision}; add one to vla.json")
        tables = _tables(model, golden.path)
        tolerance = np.asarray(golden.tolerance[precision], np.float64)
        observations = read_observations(tables, contract, golden.path)
        if "action" not in tables:
            raise UsageError(f"{golden.path}: no array 'action'; it has {', '.join(sorted(tables))}")
        if said := wanted_arrays(contract, golden=True)["action"].refuse(
            tables["action"].dtype.str, tables["action"].shape
        ):
            raise UsageError(f"{golden.path}: action {said}; export it again")
        actions = tables["action"].astype(np.float32).reshape(shape)
        if len(actions) != len(observations):
            raise UsageError(
                f"{golden.path}: {len(actions)} actions for {len(observations)} observations; export it again"
            )
        pairs = zip(observations, actions, strict=True)
        samples += [GoldenSample(seen, action, tolerance) for seen, action in pairs]
    if not samples:
        raise UsageError(f"{model}: its goldens are empty; add at least one")
    return samples


def read_calibration(model: Path, contract: Contract) -> list[Observation]:
    """Read at most 256 observations to choose int8 scales by.

    Raises UsageError when the model has none, or naming the file.

    The goldens are not taken instead: scales made for them would pass a gate that asks about nothing else.
    """
    if not contract.calibration:
        raise UsageError(f"{model}: precision int8 needs calibration data; add `calibration` to vla.json")
    sets: list[Observation] = []
    for path in contract.calibration:
        sets += read_observations(_tables(model, path), contract, path)
    return sets[:_MAX_CALIBRATION]


def read_observations(tables: Tables, contract: Contract, path: str) -> list[Observation]:
    """The observations of one file. Raises UsageError naming the array that is missing or has another shape."""
    wanted = wanted_arrays(contract)
    count = 0
    for name, array in wanted.items():
        if name not in tables:
            raise UsageError(f"{path}: no array {name!r}; it has {', '.join(sorted(tables))}")
        if said := array.refuse(tables[name].dtype.str, tables[name].shape):
            raise UsageError(f"{path}: {name} {said}; export it again")
        count = count or len(tables[name])
        if len(tables[name]) != count:
            raise UsageError(f"{path}: {name} has {len(tables[name])} sets and others {count}; export it again")
    return [_observation({name: tables[name][index] for name in wanted}, contract) for index in range(count)]


def _observation(row: Mapping[str, Any], contract: Contract) -> Observation:
    recipes = contract.observation
    frames = {name: _frames(row[f"cameras.{name}"], len(recipe.frames)) for name, recipe in recipes.cameras.items()}
    ahead = row.get("prefix")
    return Observation(
        frames=frames,
        goal=Frame(row["goal"]) if "goal" in row else None,
        state=row["state"].astype(np.float32) if "state" in row else None,
        scan=_scan(row) if recipes.lidar is not None else None,
        text=str(row["text"]) if "text" in row else "",
        ahead=None if ahead is None else ahead[np.isfinite(ahead).all(axis=-1)].astype(np.float32),
        delay=int(row.get("delay", 0)),
        seed=int(row.get("seed", 0)),
    )


def _frames(pixels: NDArray[np.uint8], count: int) -> tuple[Frame, ...]:
    return tuple(Frame(each) for each in (pixels[None] if count == 1 else pixels))


def _scan(row: Mapping[str, Any]) -> LaserScan:
    first, increment, least, most = row["lidar.limits"].astype(float).tolist()
    return LaserScan(0, first, increment, least, most, row["lidar.ranges"].astype(np.float32))


def stacked(observations: Sequence[Observation], recipes: Observations, dims: int) -> dict[str, NDArray[Any]]:
    """The arrays of some observations: what `read_observations` reads. `dims`: how many numbers an action has."""
    rows = [dict(_row(seen, recipes, dims)) for seen in observations]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file, the same bytes for the same arrays."""
    named: dict[str, Any] = dict(arrays)
    np.savez_compressed(path, **named)


def _row(seen: Observation, recipes: Observations, dims: int) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, recipe in recipes.cameras.items():
        pixels = [frame.pixels[:, :, list(frame.order)] for frame in seen.frames[name]]
        yield f"cameras.{name}", pixels[0] if len(recipe.frames) == 1 else np.stack(pixels)
    if recipes.goal is not None and seen.goal is not None:
        yield "goal", seen.goal.pixels[:, :, list(seen.goal.order)]
    if recipes.state is not None and seen.state is not None:
        rows = seen.state.reshape(-1, len(recipes.state.keys))
        yield "state", rows[0] if len(recipes.state.frames) == 1 else rows
    if recipes.text is not None:
        yield "text", np.array(seen.text)
    if recipes.lidar is not None and seen.scan is not None:
        scan = seen.scan
        limits = (scan.angle_min, scan.angle_increment, scan.range_min, scan.range_max)
        yield "lidar.ranges", scan.ranges
        yield "lidar.limits", np.array(limits, np.float64)
    if recipes.prefix:
        rows = np.full((recipes.prefix, dims), np.nan, np.float32)
        ahead = rows[:0] if seen.ahead is None else seen.ahead[: recipes.prefix]
        rows[: len(ahead)] = ahead
        yield "prefix", rows
    if recipes.delay:
        yield "delay", np.array(seen.delay, np.int64)
    if recipes.noise is not None:
        yield "seed", np.array(seen.seed, np.int64)


def _tables(model: Path, path: str) -> Tables:
    try:
        with zipfile.ZipFile(model / path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MOST_BYTES:
                raise UsageError(f"{path}: unpacks to more than {MOST_BYTES} bytes; split it")
        with np.load(model / path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not readable as arrays ({error}); write it with numpy.savez") from error
