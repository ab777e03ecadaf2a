"""A small model folder that every check of the registry accepts: one matrix from a scan to actions, and ballast."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.digest import Digest
from stack.models.commands import tokenizer_json
from stack.models.package import norm_stats

NAME = "models/pilot"


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
    action = np.zeros((8, 2), np.float32)
    np.savez(folder / "golden" / "forward.npz", lidar=np.ones((1, 90), np.float32), action=action)
    write_contract(folder, contract(folder, version, embodiment))
    return folder


def scan_graph(seed: int = 0, ballast: int = 0) -> onnx.ModelProto:
    """lidar [1, 90] to action [1, 8, 2]; `ballast` more bytes of a weight that nothing reads."""
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
    inputs = [helper.make_tensor_value_info("lidar", TensorProto.FLOAT, [1, 90])]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, 8, 2])]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "scan", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def contract(folder: Path, version: str = "1.0.0", embodiment: str = "diff_drive") -> dict[str, object]:
    """The contract of such a folder, with the digests of the files that are in it now."""
    return {
        "schema": 1,
        "name": NAME,
        "version": version,
        "requires": [],
        "embodiment": {"type": embodiment, "camera_roles": ["front"]},
        "components": [{"id": "policy", "role": "policy", "graph": "policy.onnx"}],
        "inputs": [{"name": "lidar", "semantic": "lidar", "dtype": "float32", "shape": [1, 90]}],
        "output": {"name": "action", "dtype": "float32", "shape": [1, 8, 2]},
        "preprocess": {
            "image": {"width": 64, "height": 64, "color": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
            "lidar": {"sectors": 90, "max_range_m": 10.0},
        },
        "tokenizer": {"path": "tokenizer.json", "length": 8},
        "normalization": {"path": "norm_stats.json"},
        "action": {
            "space": "base_velocity",
            "dims": [
                {"name": "linear_x", "unit": "m/s", "min": -0.5, "max": 0.5},
                {"name": "angular_z", "unit": "rad/s", "min": -1.0, "max": 1.0},
            ],
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
