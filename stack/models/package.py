"""Write the folder of a packaged model: contract, goldens, digests. numpy and the standard library only, no torch.

`files` of the contract names every other file with its sha256, so whoever holds the contract's digest holds the
model's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.contract.observation import Observations
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.files import Files
from stack.engine.goldens import read_observations, save_arrays, stacked
from stack.engine.observing import Observation

NAME = "homeport/pilot"
CAMERA = "front"
OUTPUT = "action"
LANGUAGE = "language"
GRAPH = "policy.onnx"
LANGUAGE_GRAPH = "language.onnx"
TOKENIZER = "tokenizer.json"
NORMALIZATION = "norm_stats.json"
CONTRACT = "vla.json"
CALIBRATION = "calibration.npz"
IMAGE_SIZE = 112
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
SECTORS = 90
MAX_RANGE_M = 3.0
EXECUTE_STEPS = 6
CONTROL_HZ = 20
DIMENSIONS = (("linear_x", "m/s"), ("angular_z", "rad/s"))
BOUND = 1.0  # of both dimensions, in their units
TOLERANCE = {"fp32": 0.001, "fp16": 0.01, "bf16": 0.05, "int8": 0.05}  # largest |difference| per action dimension
LICENCE = "Apache-2.0"

Document = dict[str, Any]
Vectors = Mapping[str, NDArray[Any]]


class GoldenObservation(NamedTuple):
    """What is seen, and the action chunk [steps, 2] in real units that it must give."""

    name: str
    seen: Observation
    action: NDArray[np.float32]


class Form(NamedTuple):
    """What differs between models: name, image size and how it is reached, lidar sectors, tokens, an advisory column,
    and how many features a graph of its own makes of a command (0: there is no such graph), and their tensor's name.
    """

    name: str = NAME
    size: int = IMAGE_SIZE
    resize: str = "area"
    sectors: int = SECTORS
    tokens: int = 10
    advisory: str | None = None
    language: int = 0
    features: str = LANGUAGE


PILOT = Form()


def contract(version: str, steps: int, form: Form = PILOT) -> Document:
    """The contract without goldens and files. What is as it is by default is not written."""
    camera = {"width": form.size, "height": form.size, "mean": list(IMAGE_MEAN), "std": list(IMAGE_STD)}
    resize = {} if form.resize == "area" else {"resize": form.resize}
    advisory = {} if form.advisory is None else {"advisory": {"name": form.advisory, "column": len(DIMENSIONS)}}
    return {
        "schema": 2,
        "name": form.name,
        "version": version,
        "requires": [],
        "embodiment": "mobile_base",
        "observation": {
            "cameras": {CAMERA: {**camera, **resize}},
            "text": {"tokenizer": TOKENIZER, "length": form.tokens},
            "lidar": {"sectors": form.sectors, "max_range_m": MAX_RANGE_M},
        },
        "graphs": _graphs(steps, form),
        "output": {"from": f"policy.{OUTPUT}", **advisory},
        "statistics": NORMALIZATION,
        "action": {
            "space": "base_velocity",
            "dims": [{"name": name, "unit": unit, "min": -BOUND, "max": BOUND} for name, unit in DIMENSIONS],
            "normalise": "mean_std",
            "horizon": steps,
            "execute_steps": EXECUTE_STEPS,
            "control_hz": CONTROL_HZ,
        },
        "goldens": [],
        "licence": LICENCE,
    }


def _graphs(steps: int, form: Form) -> list[Document]:
    """One graph, or one for the words before it."""
    words = {"tokens": "text"}
    before = []
    if form.language:
        features = {"name": form.features, "dtype": "float32", "shape": [1, form.language]}
        graph = {"id": LANGUAGE, "path": LANGUAGE_GRAPH, "runs": "command", "inputs": words, "outputs": [features]}
        before.append(graph)
        words = {form.features: f"{LANGUAGE}.{form.features}"}
    columns = len(DIMENSIONS) + int(form.advisory is not None)
    policy = {
        "id": "policy",
        "path": GRAPH,
        "runs": "frame",
        "inputs": {"image": f"cameras.{CAMERA}", **words, "lidar": "lidar"},
        "outputs": [{"name": OUTPUT, "dtype": "float32", "shape": [1, steps, columns]}],
    }
    return [*before, policy]


def norm_stats(mean: Sequence[float], std: Sequence[float]) -> bytes:
    """`norm_stats.json`: a real action is network output * std + mean."""
    rows = zip(DIMENSIONS, mean, std, strict=True)
    return text({"action": {name: {"mean": middle, "std": spread} for (name, _), middle, spread in rows}})


def text(document: Mapping[str, Any]) -> bytes:
    """JSON that a person can read and that is the same every time."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def read_golden(path: Path, contract: Contract) -> list[GoldenObservation]:
    """The goldens in one file of a model with this contract."""
    with np.load(path, allow_pickle=False) as arrays:
        tables = dict(arrays)
    observations = read_observations(tables, contract, path.name)
    pairs = zip(observations, tables["action"], strict=True)
    return [GoldenObservation(path.stem, seen, action) for seen, action in pairs]


def finish(
    folder: Path, document: Document, goldens: Sequence[GoldenObservation], calibration: Sequence[Observation] = ()
) -> None:
    """Write goldens, calibration data and contract into `folder`, which holds all other files of the model already."""
    reader = Reader(document["observation"], "observation")
    recipes = Observations.read(reader)
    dims = len(document["action"]["dims"])
    if calibration:
        document["calibration"] = [CALIBRATION]
        arrays = stacked(calibration, recipes, dims)
        save_arrays(folder / CALIBRATION, arrays)
    (folder / "golden").mkdir(exist_ok=True)
    document["goldens"] = [{"path": f"golden/{golden.name}.npz", "tolerance": TOLERANCE} for golden in goldens]
    for golden in goldens:
        arrays = stacked([golden.seen], recipes, dims)
        save_arrays(folder / "golden" / f"{golden.name}.npz", {**arrays, "action": golden.action[None]})
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CONTRACT)
    document["files"] = {path.relative_to(folder).as_posix(): str(Digest.of_file(path)) for path in paths}
    Files().write(folder / CONTRACT, text(document))
