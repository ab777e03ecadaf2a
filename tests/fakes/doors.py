"""Other people's interfaces as model folders: what they take and give, declared as truthfully as a contract allows.

The first seventeen are those that once met a door of one size: a camera alone, a lidar alone, masks, noise, half
precision, outputs without a batch. Each graph adds the means of its inputs up, so that what it says tells whether each
input held what it should: `expect` is the sum by hand, for the scene of `SCENE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError
from stack.engine.goldens import save_arrays, stacked
from stack.engine.packed import packed
from stack.models import package
from stack.models.commands import VOCABULARY, tokenizer_json
from stack.policy.inference import empty

Document = dict[str, Any]
_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}
LEVEL = 128
"""Every pixel of every frame in the scene."""
BEAM_M = 2.0
JOINTS = {"pan": 0.5, "tilt": -0.25}
"""Positions of the scene's joints, in rad."""
WORDS = "go forward"
NOISE = float("nan")
"""Stands for the mean of the noise, which follows from the release and the frame."""
BASE = ("linear_x", "angular_z")
SCALE = 1e-3
"""Keeps what the graphs say within the speeds of a base: a slot cuts the rest off."""
CAMERA = {"width": 16, "height": 12}


@dataclass(frozen=True)
class Interface:
    """`observation` as in a contract, `inputs` of the graph by tensor; `expect`: input tensor → its mean in the scene.

    `dims` are the action's dimensions, `output` the shape of what comes out. `refused` is a part of the sentence where
    packing, or the plan of a robot with a base, refuses it. `change` edits the contract at last.
    """

    name: str
    observation: Document
    inputs: dict[str, str]
    expect: Mapping[str, float] = field(default_factory=dict)
    dims: tuple[str, ...] = BASE
    output: tuple[int, ...] = (1, 8, 2)
    dtype: str = "float32"
    refused: str | None = None
    change: Callable[[Document], object] = lambda document: None
    edit: Callable[[onnx.ModelProto], object] = lambda model: None
    shapes: dict[str, list[int]] = field(default_factory=dict)


def words(text: str = WORDS, pad: int = 0) -> float:
    """The mean of ten tokens of a text, padded."""
    known = [VOCABULARY[word] for word in text.split()]
    return (sum(known) + pad * (10 - len(known))) / 10


def level(mean: float = 0.0, std: float = 1.0) -> float:
    """A pixel of the scene as a network gets it."""
    return (LEVEL / 255 - mean) / (std + 1e-8)


TEXT = {"tokenizer": package.TOKENIZER, "length": 10}
SCAN = {"sectors": 90, "max_range_m": 4.0}
FRONT = {"front": CAMERA}
PAN_TILT = [{"of": "joint_position", "names": list(JOINTS), "unit": "rad"}]


def _batch(model: onnx.ModelProto) -> None:
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.shape.dim[0].dim_param = "batch"


def _arm(document: Document) -> None:
    document["action"]["space"] = "joint_position"
    document["action"]["dims"] = [
        {"name": f"joint{number}", "unit": "rad", "min": -3.0, "max": 3.0} for number in range(14)
    ]


def _waypoints(document: Document) -> None:
    document["action"]["space"] = "waypoints"


def _holonomic(document: Document) -> None:
    document["action"]["dims"].insert(1, {"name": "linear_y", "unit": "m/s", "min": -1.0, "max": 1.0})


def _turned(document: Document) -> None:
    document["output"]["columns"] = [1, 0]


FOREIGN = (
    Interface("camera only", {"cameras": FRONT}, {"image": "cameras.front"}, {"image": level()}),
    Interface("lidar only", {"lidar": SCAN}, {"scan": "lidar"}, {"scan": BEAM_M / 4.0}),
    Interface(
        "image and words",
        {"cameras": FRONT, "text": TEXT},
        {"image": "cameras.front", "tokens": "text"},
        {"image": level(), "tokens": words()},
    ),
    Interface(
        "uint8 NHWC image",
        {"cameras": {"front": {**CAMERA, "layout": "NHWC", "dtype": "uint8"}}},
        {"image": "cameras.front"},
        {"image": float(LEVEL)},
    ),
    Interface(
        "half precision",
        {"cameras": {"front": {**CAMERA, "dtype": "float16"}}},
        {"image": "cameras.front"},
        {"image": level()},
        dtype="float16",
    ),
    Interface(
        "int32 tokens",
        {"cameras": FRONT, "text": {**TEXT, "dtype": "int32"}},
        {"image": "cameras.front", "tokens": "text"},
        {"image": level(), "tokens": words()},
    ),
    Interface(
        "tokens and attention mask",
        {"cameras": FRONT, "text": {**TEXT, "mask": "int64"}},
        {"image": "cameras.front", "tokens": "text", "mask": "text.mask"},
        {"image": level(), "tokens": words(), "mask": 0.2},
    ),
    Interface(
        "a mask of bool",
        {"cameras": FRONT, "text": {**TEXT, "mask": "bool", "pad_side": "left", "pad_id": 3}},
        {"image": "cameras.front", "tokens": "text", "mask": "text.mask"},
        {"image": level(), "tokens": words(pad=3), "mask": 0.2},
    ),
    Interface(
        "noise",
        {"cameras": FRONT, "noise": {"shape": [1, 8, 2]}},
        {"image": "cameras.front", "noise": "noise"},
        {"image": level(), "noise": NOISE},
    ),
    Interface(
        "prefix and delay",
        {"cameras": FRONT, "prefix": 8, "delay": True},
        {"image": "cameras.front", "prefix": "prefix", "delay": "delay"},
        {"image": level(), "prefix": 0.0, "delay": 0.0},
    ),
    Interface(
        "six frames and a goal image to waypoints",
        {
            "cameras": {
                "front": {
                    "width": 96,
                    "height": 96,
                    "frames": [-5, -4, -3, -2, -1, 0],
                    "every_s": 0.25,
                    "stack": "channels",
                }
            },
            "goal": {"width": 96, "height": 96},
        },
        {"images": "cameras.front", "goal": "goal"},
        change=_waypoints,
        refused="expected one of base_velocity, joint_position, joint_velocity, got 'waypoints'",
    ),
    Interface(
        "a batch without a size", {"cameras": FRONT}, {"image": "cameras.front"}, {"image": level()}, edit=_batch
    ),
    Interface(
        "output padded to 32", {"cameras": FRONT}, {"image": "cameras.front"}, {"image": level()}, output=(1, 8, 32)
    ),
    Interface(
        "output without a batch", {"cameras": FRONT}, {"image": "cameras.front"}, {"image": level()}, output=(8, 2)
    ),
    Interface("one step", {"cameras": FRONT}, {"image": "cameras.front"}, {"image": level()}, output=(1, 2)),
    Interface(
        "a holonomic base",
        {"cameras": FRONT},
        {"image": "cameras.front"},
        output=(1, 8, 3),
        change=_holonomic,
        refused="linear_y",
    ),
    Interface(
        "four cameras and fourteen joints",
        {
            "cameras": {name: CAMERA for name in ("front", "top", "left", "right")},
            "state": {
                "parts": [{"of": "joint_position", "names": [f"joint{number}" for number in range(14)], "unit": "rad"}]
            },
        },
        {**{name: f"cameras.{name}" for name in ("front", "top", "left", "right")}, "state": "state"},
        output=(1, 8, 14),
        change=_arm,
        refused="joint_position",
    ),
)
OWN = (
    Interface(
        "two cameras, one in a letterbox",
        {"cameras": {"front": CAMERA, "side": {"width": 16, "height": 16, "fit": "letterbox", "resize": "linear"}}},
        {"a": "cameras.front", "b": "cameras.side"},
        {"a": level(), "b": 0.75 * level()},
    ),
    Interface(
        "past frames along an axis",
        {"cameras": {"front": {**CAMERA, "frames": [-2, -1, 0], "every_s": 0.05}}},
        {"images": "cameras.front"},
        {"images": level()},
    ),
    Interface(
        "normalised and turned colours",
        {"cameras": {"front": {**CAMERA, "color": "BGR", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}},
        {"image": "cameras.front"},
        {"image": level(0.5, 0.25)},
    ),
    Interface(
        "a grey image without a batch",
        {"cameras": {"front": {**CAMERA, "color": "GRAY"}}},
        {"image": "cameras.front"},
        {"image": level()},
        shapes={"image": [1, 12, 16]},
    ),
    Interface(
        "joints in degrees",
        {"state": {"parts": [{**PAN_TILT[0], "unit": "deg"}]}},
        {"state": "state"},
        {"state": float(np.rad2deg(sum(JOINTS.values())) / 2)},
    ),
    Interface(
        "joints in quantiles, padded",
        {"cameras": FRONT, "state": {"parts": PAN_TILT, "normalise": "quantiles", "pad_to": 8}},
        {"image": "cameras.front", "state": "state"},
        {"image": level(), "state": (0.5 + -0.25) / 8},
        change=lambda document: document.update(statistics=package.NORMALIZATION),
    ),
    Interface(
        "odometry",
        {"state": {"parts": [{"of": "base_velocity", "names": ["linear_x"], "unit": "m/s"}]}},
        {"state": "state"},
        {"state": 0.2},
    ),
    Interface(
        "columns the other way round",
        {"cameras": FRONT},
        {"image": "cameras.front"},
        {"image": level()},
        change=_turned,
    ),
    Interface(
        "an open vocabulary with a template",
        {"text": {**TEXT, "closed": False, "template": "please {text}"}, "lidar": SCAN},
        {"tokens": "text", "scan": "lidar"},
        {"tokens": words(f"please {WORDS}"), "scan": BEAM_M / 4.0},
    ),
    Interface(
        "an image that no graph reads",
        {"cameras": FRONT, "lidar": SCAN},
        {"scan": "lidar"},
        refused="no graph reads 'cameras.front'",
    ),
)
INTERFACES = (*FOREIGN, *OWN)


def make_interface(folder: Path, interface: Interface) -> Path:
    """Write the model folder of an interface, and return it; its goldens are what the graph says."""
    folder.mkdir(parents=True)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    rows = {f"joint_position.{name}": {"q01": -1.0, "q99": 1.0} for name in JOINTS}
    (folder / package.NORMALIZATION).write_text(json.dumps({"state": rows}))
    document = package.contract("1.0.0", 8)
    del document["statistics"], document["action"]["normalise"]
    document["name"] = "doors/foreign"
    steps = 1 if interface.output == (1, 2) else 8
    document["action"].update(horizon=steps, execute_steps=steps, control_hz=2.0)  # slow enough for a busy machine
    for dim in document["action"]["dims"]:
        dim.update(min=-1000.0, max=1000.0)
    document["observation"] = interface.observation
    output = {"name": "out", "dtype": interface.dtype, "shape": list(interface.output)}
    graph: Document = {
        "id": "policy",
        "path": "policy.onnx",
        "runs": "frame",
        "inputs": interface.inputs,
        "outputs": [output],
    }
    if interface.shapes:
        graph["shapes"] = interface.shapes
    document["graphs"] = [graph]
    document["output"] = {"from": "policy.out"}
    interface.change(document)
    _write(folder, document)
    try:
        contract = Contract.load(folder)
    except UsageError:
        if interface.refused is None:
            raise
        return folder  # packing will say why
    onnx.save(_graph(contract, interface), folder / "policy.onnx")
    _write(folder, document)
    _add_golden(folder, document)
    return folder


def _write(folder: Path, document: Document) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != package.CONTRACT)
    document["files"] = {path.relative_to(folder).as_posix(): str(Digest.of_file(path)) for path in paths}
    document["files"].setdefault("policy.onnx", str(Digest.of(b"")))
    (folder / package.CONTRACT).write_bytes(package.text(document))


def _add_golden(folder: Path, document: Document) -> None:
    contract = Contract.load(folder)
    seen = empty(contract)
    arrays = stacked([seen], contract.observation, len(contract.action.dims))
    actions = packed(folder, contract)(seen).actions
    save_arrays(folder / "golden.npz", {**arrays, "action": actions[None]})
    document["goldens"] = [{"path": "golden.npz", "tolerance": {"fp32": 0.01, "fp16": 1.0}}]
    _write(folder, document)


def _graph(contract: Contract, interface: Interface) -> onnx.ModelProto:
    """The mean of each input, weighed by its place (1, 2, 3…) and SCALE, added up, in every element of the output."""
    [described] = contract.graphs
    dtype = _TYPES[interface.dtype]
    nodes = []
    weights = [numpy_helper.from_array(np.array(interface.output, np.int64), "size")]
    terms = []
    for place, item in enumerate(sorted(described.inputs, key=lambda each: each.name), start=1):
        name = item.name
        weights.append(numpy_helper.from_array(np.array([place * SCALE], np.float32), f"{name}_w"))
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"{name}_f"], [f"{name}_m"], keepdims=0),
            helper.make_node("Mul", [f"{name}_m", f"{name}_w"], [f"{name}_t"]),
        ]
        terms.append(f"{name}_t")
    nodes.append(helper.make_node("Sum", terms, ["sum"]))
    nodes.append(helper.make_node("Expand", ["sum", "size"], ["all"]))
    nodes.append(helper.make_node("Cast", ["all"], ["out"], to=dtype))
    inputs = [helper.make_tensor_value_info(item.name, _TYPES[item.dtype], item.shape) for item in described.inputs]
    outputs = [helper.make_tensor_value_info("out", dtype, interface.output)]
    graph = helper.make_graph(nodes, "means", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    interface.edit(model)
    return model


def weighed(interface: Interface, means: Mapping[str, float]) -> float:
    """What such a graph says for these means of its inputs."""
    return SCALE * sum(place * means[name] for place, name in enumerate(sorted(interface.inputs), start=1))
