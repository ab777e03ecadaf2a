"""Graphs whose weights lie in other files, of any size and number, build into engines that stand alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import external_data_helper as apart
from onnx import helper, numpy_helper

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, IncompatibleError
from model_registry.core.reasons import LENGTH
from model_registry.inspection import inspect
from stack.engine.backends import graphs
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.models import package
from tests.fakes.jobs import build_and_load, inputs_of, make_job
from tests.fakes.odd_graphs import file_each, one_file, rename_axes
from tests.fakes.tiny import add_calibration, make_tiny_model, relist

GRAPH = package.GRAPH
Model = onnx.ModelProto


def rewrite(folder: Path, change: Callable[[Model], None] = lambda model: None, **save: object) -> Path:
    """Save the graph of a model folder anew after `change`, and list its files."""
    model = onnx.load(str(folder / GRAPH))
    change(model)
    (folder / GRAPH).unlink()
    onnx.save(model, str(folder / GRAPH), **save)
    relist(folder)
    return folder


def grow(model: Model) -> None:
    """A weight that an exporter would put into the other file, and that the optimiser leaves as it is."""
    rng = np.random.default_rng(1)
    model.graph.initializer.append(numpy_helper.from_array(rng.random((5, 400)).astype(np.float32), "wide"))
    model.graph.initializer.append(numpy_helper.from_array(rng.random((400, 5)).astype(np.float32), "narrow"))
    place = [node.op_type for node in model.graph.node].index("Gemm")
    model.graph.node[place].input[0] = "seen"
    for given_, weight, result in (("all", "wide", "hidden"), ("hidden", "narrow", "seen")):
        model.graph.node.insert(place, helper.make_node("MatMul", [given_, weight], [result], result))
        place += 1


def as_attribute(model: Model) -> None:
    """A weight in a Constant node instead."""
    grow(model)
    weight = next(item for item in model.graph.initializer if item.name == "wide")
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["wide"], value=weight))


def answers(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["action"], inputs(session))[0]


def inputs(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    return {item.name: np.ones(item.shape, kinds[item.type]) for item in session.get_inputs()}


SAVED: dict[str, tuple[Callable[[Model], None], dict[str, object]]] = {
    "as PyTorch does": (grow, one_file(size_threshold=1024)),
    "with its shapes": (grow, one_file()),
    "one file a tensor": (grow, file_each()),
    "in an attribute": (as_attribute, one_file(convert_attribute=True)),
    "with a batch that has a name": (
        lambda model: (grow(model), rename_axes(("image", 0, "batch"), ("action", 0, "batch"))(model)),
        one_file(size_threshold=1024),
    ),
}


@pytest.mark.parametrize("kind", SAVED)
def test_an_engine_needs_nothing_of_the_models_folder(kind: str, tmp_path: Path) -> None:
    change, save = SAVED[kind]
    whole = rewrite(make_tiny_model(tmp_path / "whole"), grow)
    wanted = answers(whole / GRAPH)
    model = rewrite(make_tiny_model(tmp_path / "model"), change, **save)
    assert [path for path in model.iterdir() if path.suffix not in (".onnx", ".json") and path.is_file()]
    inspect(model, Contract.load(model))
    job = make_job(model, tmp_path)
    OnnxRuntime.build(job)
    model.rename(tmp_path / "away")
    backend = OnnxRuntime("fp32")
    backend.load(job.target, job.graph)
    assert np.allclose(backend.infer(inputs_of(job.graph))["action"], wanted, atol=1e-5)
    assert {path.name for path in job.target.iterdir()} == {OnnxRuntime.FILE, "session.json"}
    backend.close()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_build_from_other_files_as_well(precision: str, tmp_path: Path) -> None:
    model = rewrite(make_tiny_model(tmp_path / "model"), grow, **one_file())
    job = make_job(add_calibration(model), tmp_path, precision)
    OnnxRuntime.build(job)
    backend = OnnxRuntime(precision)
    backend.load(job.target, job.graph)
    backend.close()


@given(cuts=st.lists(st.integers(0, 5), min_size=6, max_size=6))
@settings(max_examples=12, deadline=None)
def test_weights_in_any_number_of_files_build(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each tensor goes into one of six files, in whatever order."""
    folder = tmp_path_factory.mktemp("files")
    model = rewrite(make_tiny_model(folder / "model"), grow)
    wanted = answers(model / GRAPH)

    def spread(graph: Model) -> None:
        for tensor, number in zip(graph.graph.initializer, cuts, strict=True):
            apart.set_external_data(tensor, f"weights-{number}.data")

    rewrite(model, spread)
    assert inspect(model, Contract.load(model)).changed == {}
    job = make_job(model, folder)
    backend = build_and_load(OnnxRuntime, job)
    assert np.allclose(backend.infer(inputs_of(job.graph))["action"], wanted, atol=1e-5)
    backend.close()


def test_a_model_in_one_file_is_built_from_that_file(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    assert graphs.bake(make_job(model, tmp_path)) == model / GRAPH


def test_axes_that_cannot_be_fixed_are_named(tmp_path: Path) -> None:
    model = rewrite(make_tiny_model(tmp_path / "model"), rename_axes(("image", 0, "n"), ("image", 2, "n")))
    with pytest.raises(IncompatibleError, match=r"axis 2 of 'image' is as long as axis 0 of 'image' \('n'\)"):
        OnnxRuntime.build(make_job(model, tmp_path))


def test_what_onnx_runtime_says_is_told_from_its_telling_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def opset(model: Model) -> None:
        model.opset_import[0].version = 40

    model = rewrite(make_tiny_model(tmp_path / "model"), opset)
    with pytest.raises(HomeportError) as caught:
        OnnxRuntime.build(make_job(model, tmp_path))
    said = str(caught.value)
    assert "Opset 40 is under development" in said and "Current official support for domain ai.onnx is till" in said
    assert said.count(str(model)) == 1 and len(said) < LENGTH + 200
    [whole] = [record.getMessage() for record in caplog.records if record.name.endswith("reasons")]
    assert whole.startswith("[ONNXRuntimeError]") and str(model) in whole


@pytest.mark.parametrize("op", ["FusedGate"])
def test_the_operator_without_a_kernel_is_in_the_message(op: str, tmp_path: Path) -> None:
    def gate(model: Model) -> None:
        model.graph.node[-1].output[0] = "raw"
        model.graph.node.append(helper.make_node(op, ["raw"], ["action"], domain="com.example"))
        model.opset_import.append(helper.make_opsetid("com.example", 1))

    model = rewrite(make_tiny_model(tmp_path / "model"), gate)
    with pytest.raises(HomeportError, match=op):
        OnnxRuntime.build(make_job(model, tmp_path))
