"""A model folder with the reference contract and a network of 80 weights: fast to build, and it always drives forward.

`tiny.onnx`: mean colour, mean token and mean distance through one matrix, plus (1.0, 0.2) for every step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.contract.observation import Observations
from model_registry.core.documents import Reader
from stack.engine.observing import Frame, LaserScan, Observation
from stack.engine.packed import packed
from stack.models import package
from stack.models.commands import COMMANDS, tokenizer_json
from stack.models.package import CAMERA, GoldenObservation
from stack.policy.inference import empty

GRAPH = Path(__file__).with_name("tiny.onnx")
STEPS = 8
MEAN, STD = (0.2, 0.0), (0.1, 0.1)
_MOVING = tuple(command for command in COMMANDS if command not in ("", "stop"))


def random_observation(rng: np.random.Generator) -> Observation:
    """A small frame of noise, a scan of noise, and a command that moves."""
    pixels = rng.integers(0, int(rng.integers(16, 256)), (48, 64, 3), dtype=np.uint8)
    ranges = rng.uniform(0.1, 5.0, 360).astype(np.float32)
    scan = LaserScan(0, -np.pi, 2 * np.pi / 360, 0.05, 12.0, ranges)
    text = _MOVING[int(rng.integers(len(_MOVING)))]
    return Observation(frames={CAMERA: (Frame(pixels),)}, scan=scan, text=text)


def make_tiny_model(folder: Path, version: str = "1.0.0", wrong_by: float = 0.0, poison: bool = False) -> Path:
    """Write a model folder and return it.

    `wrong_by` is added to the golden actions; `poison` makes a weight NaN, so that the output has one.
    """
    folder.mkdir(parents=True)
    write_small_files(folder)
    _finish(folder, package.contract(version, STEPS), wrong_by)
    if poison:
        poison_graph(folder)
    return folder


def write_small_files(folder: Path) -> None:
    """Graph, tokenizer and statistics."""
    shutil.copy(GRAPH, folder / package.GRAPH)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    (folder / package.NORMALIZATION).write_bytes(package.norm_stats(MEAN, STD))


def _finish(folder: Path, document: package.Document, wrong_by: float = 0.0) -> None:
    """Goldens of the folder's own graphs, and the contract."""
    rng = np.random.default_rng(3)
    package.finish(folder, document, [])
    model = packed(folder, Contract.load(folder))
    goldens = []
    for name in ("one", "two"):
        seen = random_observation(rng)
        goldens.append(GoldenObservation(name, seen, model(seen).actions + np.float32(wrong_by)))
    package.finish(folder, document, goldens)


def poison_graph(folder: Path) -> None:
    """Make a weight of the graph NaN; the contract is written anew."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(folder / package.GRAPH)
    [bias] = [item for item in model.graph.initializer if item.name == "b"]
    broken = numpy_helper.to_array(bias).copy()
    broken[0] = np.nan
    bias.CopyFrom(numpy_helper.from_array(broken, "b"))
    onnx.save(model, folder / package.GRAPH)
    relist(folder)


def relist(folder: Path) -> None:
    """Write the contract with its goldens anew, after other files changed."""
    contract = Contract.load(folder)
    document = json.loads((folder / package.CONTRACT).read_bytes())
    goldens = [each for golden in contract.goldens for each in package.read_golden(folder / golden.path, contract)]
    package.finish(folder, document, goldens)


def add_calibration(model: Path, sets: int = 8) -> Path:
    """Give a model folder `sets` random observations to choose int8 scales by, and return it."""
    rng = np.random.default_rng(11)
    contract = Contract.load(model)
    document = json.loads((model / package.CONTRACT).read_bytes())
    goldens = [each for golden in contract.goldens for each in package.read_golden(model / golden.path, contract)]
    package.finish(model, document, goldens, [random_observation(rng) for _ in range(sets)])
    return model


def make_null_model(
    folder: Path,
    steps: int = STEPS,
    form: package.Form = package.PILOT,
    version: str = "1.0.0",
    observation: Mapping[str, Any] | None = None,
) -> Path:
    """A model for the backend `null`, whose answer is zero in the network's units:

    `steps` steps, all of them executed. `observation` is another one than the reference's; what it names, its graph
    reads under the same name.
    """
    folder.mkdir(parents=True)
    write_small_files(folder)
    seen = random_observation(np.random.default_rng(3))
    document = package.contract(version, steps, form)
    document["action"]["execute_steps"] = steps
    if observation is not None:
        document["observation"] = dict(observation)
        recipes = Observations.read(Reader(dict(observation), "observation"))
        document["graphs"][0]["inputs"] = {name: name for name in recipes.tensors(len(MEAN))}
        package.finish(folder, document, [])
        seen = empty(Contract.load(folder))
    golden = GoldenObservation("nothing", seen, np.tile(np.asarray(MEAN, np.float32), (steps, 1)))
    package.finish(folder, document, [golden])
    return folder


def add_variant(folder: Path, name: str) -> Path:
    """Put a smaller model into a model folder, for the same words and actions; returns its own folder."""
    small = make_tiny_model(folder / name, "1.0.1")
    document = json.loads((folder / package.CONTRACT).read_bytes())
    document["variants"] = [name]
    (folder / package.CONTRACT).write_bytes(package.text(document))
    relist(folder)
    return small


def make_split_model(folder: Path) -> Path:
    """The tiny model with four features of language between words and matrix, in two graphs; as one graph it is
    `whole.onnx` beside the folder. It has calibration data.
    """
    import onnx
    from onnx import helper, numpy_helper, utils

    model, whole = onnx.load(GRAPH), folder.with_name("whole.onnx")
    [mean] = [node for node in model.graph.node if list(node.output) == ["tm"]]
    mean.output[0] = "mean"
    place = list(model.graph.node).index(mean) + 1
    model.graph.node.insert(place, helper.make_node("MatMul", ["mean", "v"], ["words"]))
    model.graph.node.insert(place + 1, helper.make_node("ReduceMean", ["words", "ax"], ["tm"], keepdims=1))
    model.graph.initializer.append(numpy_helper.from_array(np.array([[0.5, -1.0, 2.0, 1.0]], np.float32), "v"))
    onnx.save(onnx.shape_inference.infer_shapes(model), whole)
    folder.mkdir(parents=True)
    write_small_files(folder)
    utils.extract_model(whole, folder / package.LANGUAGE_GRAPH, ["tokens"], ["words"])
    utils.extract_model(whole, folder / package.GRAPH, ["image", "words", "lidar"], ["action"])
    _finish(folder, package.contract("1.0.0", STEPS, package.Form(language=4, features="words")))
    return add_calibration(folder, 2)
