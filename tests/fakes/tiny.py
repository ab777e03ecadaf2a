"""A model folder with the reference contract and a network of 80 weights: fast to build, and it always drives forward.

`tiny.onnx`: mean colour, mean token and mean distance through one matrix, plus (1.0, 0.2) for every step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime

from model_registry.core.digest import Digest
from stack.models import package
from stack.models.commands import TOKENS, tokenizer_json
from stack.models.package import IMAGE_SIZE, SECTORS, GoldenTensors

GRAPH = Path(__file__).with_name("tiny.onnx")
STEPS = 8
MEAN, STD = (0.2, 0.0), (0.1, 0.1)


def make_tiny_model(folder: Path, version: str = "1.0.0", wrong_by: float = 0.0, poison: bool = False) -> Path:
    """Write a model folder and return it.

    `wrong_by` is added to the golden actions; `poison` puts a NaN into a golden's input, so that the output has one.
    """
    folder.mkdir(parents=True)
    shutil.copy(GRAPH, folder / package.GRAPH)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    (folder / package.NORMALIZATION).write_bytes(package.norm_stats(MEAN, STD))
    rng = np.random.default_rng(3)
    session = onnxruntime.InferenceSession(str(GRAPH), providers=["CPUExecutionProvider"])
    goldens = []
    for name in ("one", "two"):
        image = rng.standard_normal((1, 3, IMAGE_SIZE, IMAGE_SIZE)).astype(np.float32)
        tokens = rng.integers(2, 20, (1, TOKENS)).astype(np.int64)
        lidar = rng.random((1, SECTORS)).astype(np.float32)
        output = session.run(["action"], {"image": image, "tokens": tokens, "lidar": lidar})[0]
        action = output[0] * np.asarray(STD, np.float32) + np.asarray(MEAN, np.float32) + np.float32(wrong_by)
        if poison:
            image[0, 0, 0, 0] = np.nan
        goldens.append(GoldenTensors(name, image, tokens, lidar, action))
    package.finish(folder, package.contract(version, STEPS), goldens)
    return folder


def add_calibration(model: Path, sets: int = 8) -> Path:
    """Give a model folder `sets` sets of random inputs to choose int8 scales by, and return it."""
    rng = np.random.default_rng(11)
    fields = json.loads((model / "vla.json").read_bytes())
    arrays = {
        item["name"]: rng.integers(2, 20, (sets, *item["shape"])).astype(np.int64)
        if item["dtype"] == "int64"
        else rng.random((sets, *item["shape"])).astype(np.float32)
        for item in fields["inputs"]
    }
    np.savez(model / "calibration.npz", **arrays)
    fields["calibration"] = ["calibration.npz"]
    fields["files"]["calibration.npz"] = str(Digest.of_file(model / "calibration.npz"))
    (model / "vla.json").write_text(json.dumps(fields))
    return model


def make_null_model(
    folder: Path, steps: int = STEPS, form: package.Form = package.PILOT, version: str = "1.0.0"
) -> Path:
    """A model for the backend `null`, whose answer is zero in the network's units:

    `steps` steps, all of them executed.
    """
    folder.mkdir(parents=True)
    shutil.copy(GRAPH, folder / package.GRAPH)
    (folder / package.TOKENIZER).write_bytes(tokenizer_json())
    (folder / package.NORMALIZATION).write_bytes(package.norm_stats(MEAN, STD))
    image = np.zeros((1, 3, form.size, form.size), np.float32)
    tokens, lidar = np.zeros((1, form.tokens), np.int64), np.ones((1, form.sectors), np.float32)
    golden = GoldenTensors("nothing", image, tokens, lidar, np.tile(np.asarray(MEAN, np.float32), (steps, 1)))
    document = package.contract(version, steps, form)
    document["action"]["execute_steps"] = steps
    package.finish(folder, document, [golden])
    return folder


def add_variant(folder: Path, name: str) -> Path:
    """Put a smaller model into a model folder, for the same words and actions; returns its own folder."""
    small = make_tiny_model(folder / name, "1.0.1")
    document = json.loads((folder / package.CONTRACT).read_bytes())
    document["variants"] = [name]
    package.finish(folder, document, [package.read_golden(path) for path in sorted((folder / "golden").iterdir())])
    return small


def make_split_model(folder: Path) -> Path:
    """The tiny model with four features of language between words and matrix, in two graphs; as one graph it is
    `whole.onnx` beside the folder.
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
    make_tiny_model(folder)
    utils.extract_model(whole, folder / package.LANGUAGE_GRAPH, ["tokens"], ["words"])
    utils.extract_model(whole, folder / package.GRAPH, ["image", "words", "lidar"], ["action"])
    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    goldens, others = [], []
    for path in sorted((folder / "golden").iterdir()):
        golden = package.read_golden(path)
        given = {"image": golden.image, "tokens": golden.tokens, "lidar": golden.lidar}
        output = session.run(["action"], given)[0][0]
        goldens.append(golden._replace(action=output * np.asarray(STD, np.float32) + np.asarray(MEAN, np.float32)))
        words = golden.tokens.mean() * np.array([[0.5, -1.0, 2.0, 1.0]], np.float32)
        others.append({**given, "words": words.astype(np.float32)})
    document = package.contract("1.0.0", STEPS, package.Form(language=4))
    document["components"][0]["output"]["name"] = "words"
    package.finish(folder, document, goldens, others)
    return folder
