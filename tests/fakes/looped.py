"""A model of two graphs with a loop: a prefix that takes the mean of a frame, and an expert x/2 + mean + time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.contract import Contract
from stack.engine.observing import Frame, Observation
from stack.engine.packed import packed
from stack.models import package
from stack.models.package import GoldenObservation

STEPS_OF_LOOP = 4
SHAPE = [1, 4, 3]
LOOPS: dict[str, dict[str, Any]] = {
    "euler": {"method": "euler", "times": [1.0, 0.75, 0.5, 0.25, 0.0], "v": "expert.v"},
    "ddim": {
        "method": "ddim",
        "times": [3.0, 2.0, 1.0, 0.0],
        "alphas": [0.2, 0.4, 0.7, 0.9, 1.0],
        "clip": 5.0,
        "v": "expert.v",
    },
}


def save(path: Path, nodes: list[Any], inputs: dict[str, list[int]], output: str, shape: list[int]) -> None:
    """Write a graph of float32 tensors."""
    weights = [
        numpy_helper.from_array(np.array([0.5], np.float32), "half"),
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
    ]
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)


def make_looped_model(folder: Path, method: str = "euler") -> Path:
    """Write a model folder and return it: frames of 8 × 8, actions of a base with one more column that is not used."""
    folder.mkdir(parents=True)
    mean = helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0)
    save(folder / "prefix.onnx", [mean], {"image": [1, 3, 8, 8]}, "mean", [1])
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["seen"]),
        helper.make_node("Add", ["seen", "time"], ["v"]),
    ]
    save(folder / "expert.onnx", nodes, {"x": SHAPE, "mean": [1], "time": [1]}, "v", SHAPE)
    document = package.contract("1.0.0", 4)
    del document["statistics"], document["action"]["normalise"]
    limits = {"min": -100.0, "max": 100.0}
    document["action"]["dims"] = [{**dim, **limits} for dim in document["action"]["dims"]]
    document["action"]["execute_steps"] = 4
    document["observation"] = {
        "cameras": {"front": {"width": 8, "height": 8}},
        "noise": {"shape": SHAPE},
    }
    document["graphs"] = [
        {
            "id": "prefix",
            "path": "prefix.onnx",
            "runs": "frame",
            "inputs": {"image": "cameras.front"},
            "outputs": [{"name": "mean", "dtype": "float32", "shape": [1]}],
        },
        {
            "id": "expert",
            "path": "expert.onnx",
            "runs": "step",
            "inputs": {"x": "x", "mean": "prefix.mean", "time": "time"},
            "outputs": [{"name": "v", "dtype": "float32", "shape": SHAPE}],
        },
    ]
    document["loop"] = LOOPS[method]
    document["output"] = {"from": "x", "columns": [0, 2]}
    package.finish(folder, document, [])
    policy = packed(folder, Contract.load(folder))
    rng = np.random.default_rng(4)
    goldens = []
    for number in range(2):
        pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        seen = Observation(frames={"front": (Frame(pixels),)}, seed=7 + number)
        goldens.append(GoldenObservation(f"seed{number}", seen, policy(seen).actions))
    package.finish(folder, document, goldens)
    return folder
