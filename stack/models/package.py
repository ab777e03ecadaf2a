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

from model_registry.core.contract import LANGUAGE
from model_registry.core.digest import Digest
from model_registry.core.files import Files

NAME = "homeport/pilot"
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


class GoldenTensors(NamedTuple):
    """Network inputs and the action chunk [steps, 2] in real units that they must give."""

    name: str
    image: NDArray[np.float32]
    tokens: NDArray[np.int64]
    lidar: NDArray[np.float32]
    action: NDArray[np.float32]


class Form(NamedTuple):
    """What differs between models: name, image size and how it is reached, lidar sectors, tokens, an advisory column,
    and how many features a graph of its own makes of a command (0: there is no such graph).
    """

    name: str = NAME
    size: int = IMAGE_SIZE
    resize: str = "area"
    sectors: int = SECTORS
    tokens: int = 10
    advisory: str | None = None
    language: int = 0


PILOT = Form()


def contract(version: str, steps: int, form: Form = PILOT) -> Document:
    """The contract without goldens and files. What is as it is by default is not written."""
    size = {"width": form.size, "height": form.size, "color": "RGB"}
    resize = {} if form.resize == "area" else {"resize": form.resize}
    advisory = {} if form.advisory is None else {"advisory": form.advisory}
    output = {"name": LANGUAGE, "shape": [1, form.language]}
    language = [{"id": LANGUAGE, "role": "llm", "graph": LANGUAGE_GRAPH, "output": output}] if form.language else []
    return {
        "schema": 1,
        "name": form.name,
        "version": version,
        "requires": [component["id"] for component in language],
        "embodiment": {"type": "mobile_base", "camera_roles": ["front"]},
        "components": [*language, {"id": "policy", "role": "policy", "graph": GRAPH}],
        "inputs": [
            {"name": "image", "semantic": "image", "dtype": "float32", "shape": [1, 3, form.size, form.size]},
            {"name": "tokens", "semantic": "text", "dtype": "int64", "shape": [1, form.tokens]},
            {"name": "lidar", "semantic": "lidar", "dtype": "float32", "shape": [1, form.sectors]},
        ],
        "output": {"name": "action", "dtype": "float32", "shape": [1, steps, len(DIMENSIONS) + len(advisory)]},
        "preprocess": {
            "image": {**size, "mean": list(IMAGE_MEAN), "std": list(IMAGE_STD), **resize},
            "lidar": {"sectors": form.sectors, "max_range_m": MAX_RANGE_M},
        },
        "tokenizer": {"path": TOKENIZER, "length": form.tokens},
        "normalization": {"path": NORMALIZATION},
        "action": {
            "space": "base_velocity",
            "dims": [{"name": name, "unit": unit, "min": -BOUND, "max": BOUND} for name, unit in DIMENSIONS],
            "horizon": steps,
            "execute_steps": EXECUTE_STEPS,
            "control_hz": CONTROL_HZ,
            **advisory,
        },
        "licence": LICENCE,
    }


def norm_stats(mean: Sequence[float], std: Sequence[float]) -> bytes:
    """`norm_stats.json`: a real action is network output * std + mean."""
    rows = zip(DIMENSIONS, mean, std, strict=True)
    return text({"action": {name: {"mean": middle, "std": spread} for (name, _), middle, spread in rows}})


def text(document: Mapping[str, Any]) -> bytes:
    """JSON that a person can read and that is the same every time."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def read_golden(path: Path) -> GoldenTensors:
    with np.load(path, allow_pickle=False) as arrays:
        return GoldenTensors(path.stem, *(arrays[name] for name in GoldenTensors._fields[1:]))


def finish(folder: Path, document: Document, goldens: list[GoldenTensors], calibration: Sequence[Vectors] = ()) -> None:
    """Write goldens, calibration data and contract into `folder`, which holds all other files of the model already."""
    if calibration:
        document["calibration"] = [CALIBRATION]
        stacks: Document = {name: np.concatenate([each[name] for each in calibration]) for name in calibration[0]}
        np.savez_compressed(folder / CALIBRATION, **stacks)
    (folder / "golden").mkdir(exist_ok=True)
    document["goldens"] = [{"path": f"golden/{golden.name}.npz", "tolerance": TOLERANCE} for golden in goldens]
    for golden in goldens:
        arrays = golden._asdict()
        np.savez_compressed(folder / "golden" / f"{arrays.pop('name')}.npz", **arrays)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CONTRACT)
    document["files"] = {path.relative_to(folder).as_posix(): str(Digest.of_file(path)) for path in paths}
    Files().write(folder / CONTRACT, text(document))
