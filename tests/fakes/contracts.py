"""Contracts as documents: one that names every field, and small ones to change. Their files need not be there."""

from __future__ import annotations

import copy
import json
from typing import Any

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest

Document = dict[str, Any]
JOINTS = ("shoulder", "elbow")
_NONE = str(Digest.of(b""))


def arm() -> Document:
    """An arm with two cameras: a graph for the words, one a frame, and an expert that runs ten times in a loop.

    Every field that a contract can have is in it, but those of ddim.
    """
    named = ("words.onnx", "prefix.onnx", "expert.onnx", "tokenizer.json", "stats.json", "calibration.npz", "one.npz")
    return {
        "schema": 2,
        "name": "models/arm",
        "version": "1.2.3-rc.1",
        "requires": [],
        "embodiment": "six_axes",
        "observation": _arm_observation(),
        "graphs": _arm_graphs(),
        "loop": {"method": "euler", "times": [1.0, 0.5, 0], "v": "expert.v", "time_dtype": "float32"},
        "output": {"from": "x", "first": 1, "columns": [3, 0], "advisory": {"name": "sure", "column": 5}},
        "statistics": "stats.json",
        "action": {
            "space": "joint_position",
            "dims": [{"name": name, "unit": "deg", "min": -90, "max": 90.5} for name in JOINTS],
            "horizon": 10,
            "execute_steps": 5,
            "control_hz": 30,
            "relative": "to_state",
            "normalise": "min_max",
        },
        "calibration": ["calibration.npz"],
        "variants": ["small"],
        "goldens": [{"path": "one.npz", "tolerance": {"fp32": 0.01, "fp16": [0.1, 0.2]}}],
        "files": dict.fromkeys(named, _NONE),
        "licence": "Apache-2.0",
    }


def _arm_observation() -> Document:
    wrist = {
        "width": 64,
        "height": 48,
        "fit": "letterbox",
        "anchor": "top_left",
        "pad": 7,
        "resize": "linear_float32",
        "color": "BGR",
        "layout": "NHWC",
        "dtype": "float16",
        "divisor": 127.5,
        "mean": [1, 1.0, 1],
        "std": [1, 0.5, 1],
        "frames": [-3, -1, 0],
        "every_s": 0.25,
        "stack": "channels",
    }
    parts = [
        {"of": "joint_position", "names": list(JOINTS), "unit": "deg"},
        {"of": "gripper", "names": ["jaw"], "unit": "percent"},
    ]
    text = {
        "tokenizer": "tokenizer.json",
        "length": 16,
        "dtype": "int32",
        "pad_id": 2,
        "pad_side": "left",
        "template": "do {text}\n",
        "mask": "bool",
        "closed": False,
    }
    return {
        "cameras": {"top": {"width": 32, "height": 24}, "wrist": wrist},
        "goal": {"width": 8, "height": 8, "color": "GRAY", "dtype": "uint8"},
        "state": {"parts": parts, "normalise": "quantiles", "frames": [-1, 0], "every_s": 0.1, "pad_to": 4},
        "text": text,
        "lidar": {"sectors": 36, "max_range_m": 5},
        "noise": {"shape": [1, 12, 6], "dtype": "float16"},
        "prefix": 4,
        "delay": True,
    }


def _arm_graphs() -> list[Document]:
    return [
        {
            "id": "words",
            "path": "words.onnx",
            "runs": "command",
            "inputs": {"tokens": "text", "mask": "text.mask", "goal": "goal"},
            "outputs": [{"name": "features", "dtype": "float16", "shape": [1, 16, 8]}],
        },
        {
            "id": "prefix",
            "path": "prefix.onnx",
            "runs": "frame",
            "inputs": {
                "words": "words.features",
                "top": "cameras.top",
                "wrist": "cameras.wrist",
                "state": "state",
                "scan": "lidar",
                "ahead": "prefix",
                "delay": "delay",
            },
            "shapes": {"state": [1, 8], "delay": []},
            "outputs": [{"name": "cache", "dtype": "float32", "shape": [2, 1, 16]}],
        },
        {
            "id": "expert",
            "path": "expert.onnx",
            "runs": "step",
            "inputs": {"cache": "prefix.cache", "x": "x", "t": "time"},
            "outputs": [{"name": "v", "dtype": "float16", "shape": [12, 6]}],
        },
    ]


def base() -> Document:
    """A base with one camera and one graph: only what has to be there."""
    return {
        "schema": 2,
        "name": "models/base",
        "version": "1.0.0",
        "requires": [],
        "embodiment": "diff_drive",
        "observation": {"cameras": {"front": {"width": 8, "height": 6}}},
        "graphs": [
            {
                "id": "policy",
                "path": "policy.onnx",
                "runs": "frame",
                "inputs": {"image": "cameras.front"},
                "outputs": [{"name": "action", "dtype": "float32", "shape": [1, 8, 2]}],
            }
        ],
        "output": {"from": "policy.action"},
        "action": {
            "space": "base_velocity",
            "dims": [
                {"name": "linear_x", "unit": "m/s", "min": -0.5, "max": 0.5},
                {"name": "angular_z", "unit": "rad/s", "min": -1, "max": 1},
            ],
            "horizon": 8,
            "execute_steps": 4,
            "control_hz": 20,
        },
        "goldens": [{"path": "one.npz", "tolerance": {"fp32": 0.01}}],
        "files": {"policy.onnx": _NONE, "one.npz": _NONE},
        "licence": "Apache-2.0",
    }


def diffusion() -> Document:
    """The base with noise that becomes actions in three steps of ddim."""
    document = base()
    document["observation"]["noise"] = {"shape": [1, 8, 2]}
    document["graphs"] = [
        {
            "id": "unet",
            "path": "policy.onnx",
            "runs": "step",
            "inputs": {"image": "cameras.front", "x": "x", "t": "time"},
            "shapes": {"t": []},
            "outputs": [{"name": "eps", "dtype": "float32", "shape": [1, 8, 2]}],
        }
    ]
    document["loop"] = {
        "method": "ddim",
        "times": [66, 33, 0],
        "v": "unet.eps",
        "time_dtype": "int64",
        "alphas": [0.1, 0.5, 0.9, 1],
        "prediction": "sample",
        "clip": 1,
    }
    document["output"] = {"from": "x"}
    return document


def changed(document: Document, place: str, *value: object) -> Document:
    """A copy in which the value at `place`, such as graphs.0.runs or files/one.npz, is another.

    Without a value it is gone.
    """
    result = copy.deepcopy(document)
    *parents, last = place.split("/" if "/" in place else ".")
    inner: Any = result
    for key in parents:
        inner = inner[int(key) if isinstance(inner, list) else key]
    at: Any = int(last) if isinstance(inner, list) else last
    if value:
        inner[at] = value[0]
    else:
        del inner[at]
    return result


def read(document: Document) -> Contract:
    """The contract of a document. Raises HomeportError."""
    return Contract.parse(json.dumps(document).encode())
