"""A small model folder that every check of the registry accepts: one matrix from a scan to actions, and ballast."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.digest import Digest
from stack.models.commands import tokenizer_json
from stack.models.package import norm_stats

NAME = "models/pilot"
BEAMS = 360


def make_model(
    folder: Path, *, version: str = "1.0.0", embodiment: str = "diff_drive", seed: int = 0, size: int = 300_000
) -> Path:
    """Write a model of about `size` bytes into `folder` and return it. The same arguments give the same bytes."""
    folder.mkdir(parents=True)
    (folder / "golden").mkdir()
    (folder / "policy.onnx").write_bytes(scan_graph(seed, size).SerializeToString())
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    (folder / "norm_stats.json").write_bytes(norm_stats((0.0, 0.0), (1.0, 1.0)))
    (folder / "README.md").write_text("A model for tests.\n")
    np.savez(folder / "golden" / "forward.npz", **golden_arrays())
    write_contract(folder, contract(folder, version, embodiment))
    return folder


def golden_arrays(sets: int = 1) -> dict[str, Any]:
    """What a golden of such a model holds: a scan of nothing near, and standing still."""
    limits = [-np.pi, 2 * np.pi / BEAMS, 0.05, 12.0]
    return {
        "text": np.array(["go forward"] * sets),
        "lidar.ranges": np.full((sets, BEAMS), 10.0, np.float32),
        "lidar.limits": np.array([limits] * sets),
        "action": np.zeros((sets, 8, 2), np.float32),
    }


def scan_graph(seed: int = 0, ballast: int = 0) -> onnx.ModelProto:
    """lidar [1, 90] and tokens [1, 8] to action [1, 8, 2]; `ballast` more bytes of a weight that nothing reads."""
    rng = np.random.default_rng(seed)
    weights = {
        "w": (rng.standard_normal((90, 16)) * 0.01).astype(np.float32),
        "shape": np.array([1, 8, 2], np.int64),
        "ballast": np.frombuffer(random.Random(seed).randbytes(ballast), np.uint8),
    }
    nodes = [
        helper.make_node("MatMul", ["lidar", "w"], ["flat"], "multiply"),
        helper.make_node("Reshape", ["flat", "shape"], ["action"], "arrange"),
    ]
    inputs = [
        helper.make_tensor_value_info("lidar", TensorProto.FLOAT, [1, 90]),
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, 8]),
    ]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, 8, 2])]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "scan", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def contract(folder: Path, version: str = "1.0.0", embodiment: str = "diff_drive") -> dict[str, object]:
    """The contract of such a folder, with the digests of the files that are in it now."""
    return {
        "schema": 2,
        "name": NAME,
        "version": version,
        "requires": [],
        "embodiment": embodiment,
        "observation": {
            "text": {"tokenizer": "tokenizer.json", "length": 8},
            "lidar": {"sectors": 90, "max_range_m": 10.0},
        },
        "graphs": [
            {
                "id": "policy",
                "path": "policy.onnx",
                "runs": "frame",
                "inputs": {"lidar": "lidar", "tokens": "text"},
                "outputs": [{"name": "action", "dtype": "float32", "shape": [1, 8, 2]}],
            }
        ],
        "output": {"from": "policy.action"},
        "statistics": "norm_stats.json",
        "action": {
            "space": "base_velocity",
            "dims": [
                {"name": "linear_x", "unit": "m/s", "min": -0.5, "max": 0.5},
                {"name": "angular_z", "unit": "rad/s", "min": -1.0, "max": 1.0},
            ],
            "normalise": "mean_std",
            "horizon": 8,
            "execute_steps": 4,
            "control_hz": 20.0,
        },
        "goldens": [{"path": "golden/forward.npz", "tolerance": {"fp32": 0.001}}],
        "files": {
            path.relative_to(folder).as_posix(): str(Digest.of_file(path))
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "vla.json"
        },
        "licence": "Apache-2.0",
    }


def write_contract(folder: Path, fields: dict[str, object]) -> None:
    (folder / "vla.json").write_text(json.dumps(fields))
