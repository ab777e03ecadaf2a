"""Graphs in another precision: what changes, what must not, and what is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, IncompatibleError, UsageError
from stack.engine import conversion, precision
from stack.engine.backends.graphs import bake, large, read
from stack.engine.backends.onnxruntime import OnnxRuntime, optimize
from stack.engine.calibration import calibration
from stack.engine.quantize import quantize
from tests.fakes.jobs import build_and_load, inputs_of, make_job
from tests.fakes.tiny import GRAPH, add_calibration, make_tiny_model

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "stack/models/reference/pilot-1.0.0/policy.onnx"


def run(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    given = {
        item.name: rng.integers(2, 20, item.shape)
        if "int64" in item.type
        else rng.random(item.shape).astype(np.float32)
        for item in session.get_inputs()
    }
    return session.run(None, given)[0]


@pytest.mark.parametrize("path", [GRAPH, REFERENCE], ids=lambda path: path.stem)
def test_a_graph_in_fp16_gives_nearly_the_same_as_before_and_as_the_runtimes_own_converter(path: Path) -> None:
    model = onnx.load(path)
    ours = conversion.convert(model, "fp16")
    onnx.checker.check_model(ours, full_check=True)
    theirs = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    assert precision.of_graph(ours) == "fp16"
    assert np.max(np.abs(run(ours) - run(model))) < 0.01
    assert np.max(np.abs(run(ours) - run(theirs))) < 0.005


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_a_converted_graph_takes_and_gives_what_it_did(name: str) -> None:
    model = onnx.load(REFERENCE)
    narrow = conversion.convert(model, name)
    assert list(narrow.graph.input) == list(model.graph.input)
    assert list(narrow.graph.output) == list(model.graph.output)
    assert {item.data_type for item in narrow.graph.initializer} <= {precision.TYPES[name], TensorProto.INT64}


def test_every_weight_in_bf16_is_the_nearest_there_is() -> None:
    model = onnx.load(GRAPH)
    before = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for item in conversion.convert(model, "bf16").graph.initializer:
        wide = numpy_helper.to_array(item).astype(np.float32)
        assert np.all(np.abs(wide - before[item.name]) <= np.abs(before[item.name]) / 256)


def test_converting_twice_gives_the_same_bytes() -> None:
    model = onnx.load(REFERENCE)
    first, second = (conversion.convert(model, "bf16").SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def make(nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    ends = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, each)]
        for name, each in (("x", [1, 2, 4, 4]), ("y", shape))
    )
    graph = helper.make_graph(nodes, "made", *ends, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_what_an_operator_takes_in_float32_only_stays_as_exact_as_it_was() -> None:
    scales = np.array([1, 1, 1.3333334, 1.3333334], np.float32)
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    narrow = conversion.convert(make(nodes, [1, 2, 5, 5], {"scales": scales}), "fp16")
    onnx.checker.check_model(narrow, full_check=True)
    kept = next(item for item in narrow.graph.initializer if item.name == "scales__wide")
    assert np.array_equal(numpy_helper.to_array(kept), scales)
    assert run(narrow).shape == (1, 2, 5, 5)


def test_what_is_too_large_for_fp16_becomes_its_largest_number() -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    narrow = conversion.convert(make(nodes, [1, 2, 4, 4], {"w": np.full((1,), 1e6, np.float32)}), "fp16")
    assert numpy_helper.to_array(narrow.graph.initializer[0])[0] == np.float16(65504)


def of_two_gibibytes() -> onnx.ModelProto:
    """By what it says of its weights, which are not here."""
    weight = TensorProto(name="w", dims=[1 << 20, 512], data_type=TensorProto.FLOAT)
    model = make([helper.make_node("MatMul", ["x", "w"], ["y"])], [1, 2, 4, 512], {})
    model.graph.initializer.append(weight)
    return model


@pytest.mark.parametrize("path", [GRAPH, REFERENCE], ids=lambda path: path.stem)
def test_shapes_are_inferred_without_the_weights_because_inference_ends_at_2_gib(path: Path) -> None:
    model = onnx.load(path)
    light = precision.skeleton(model)
    assert [item.name for item in light.graph.initializer if np.prod(item.dims) > 1024] == []
    whole, known = (onnx.shape_inference.infer_shapes(each).graph for each in (model, light))
    assert list(known.value_info) == list(whole.value_info) and list(known.output) == list(whole.output)
    sources = {path: path.read_text() for path in (ROOT / "stack").rglob("*.py")}
    assert [text.count("infer_shapes(") for text in sources.values() if "infer_shapes(" in text] == [1]


def test_what_one_file_may_not_hold_in_any_precision_has_its_weights_apart(tmp_path: Path) -> None:
    assert large(of_two_gibibytes()) and not large(onnx.load(REFERENCE))
    job = make_job(REFERENCE.parent, tmp_path)
    runner = build_and_load(OnnxRuntime, job)
    given = inputs_of(job.graph)
    before = runner.infer(given)["action"].copy()
    runner.close()
    optimize(REFERENCE, job.target / "engine.onnx", apart=True)
    assert (job.target / "engine.onnx.data").stat().st_size > (job.target / "engine.onnx").stat().st_size
    runner.load(job.target, job.graph)
    assert np.array_equal(runner.infer(given)["action"], before)
    assert precision.of_graph(read(job.target / "engine.onnx")) == "fp32"


def test_a_quantized_graph_may_have_its_weights_apart(tmp_path: Path) -> None:
    job = make_job(REFERENCE.parent, tmp_path)
    samples = list(calibration(job.model, job.contract, job.graph))[:2]
    quantize(REFERENCE, samples, tmp_path / "one.onnx", symmetric=False)
    quantize(REFERENCE, samples, tmp_path / "two.onnx", symmetric=False, apart=True)
    assert (tmp_path / "two.onnx.data").exists() and not (tmp_path / "one.onnx.data").exists()
    assert np.array_equal(*(run(read(tmp_path / f"{name}.onnx")) for name in ("one", "two")))


def test_an_operator_outside_of_the_standard_is_named() -> None:
    nodes = [helper.make_node("FusedMagic", ["x"], ["y"], domain="com.example")]
    with pytest.raises(IncompatibleError, match=r"com\.example\.FusedMagic"):
        conversion.convert(make(nodes, [1, 2, 4, 4], {}), "fp16")


def test_a_mixture_is_told_as_one() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Cast", ["b"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["h"], ["narrow"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["narrow", "c"], ["g"]),
        helper.make_node("Cast", ["g"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "wide"], ["y"]),
    ]
    eye = np.eye(4, dtype=np.float32)
    weights = {"a": eye, "b": eye.astype(np.float16), "c": eye.astype(np.float16)}
    assert precision.of_graph(make(nodes, [1, 2, 4, 4], weights)) == "67 % fp32, 33 % fp16"


def test_int8_is_the_same_bytes_each_time_and_needs_calibration_data(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    with pytest.raises(UsageError, match="needs calibration data"):
        bake(make_job(model, tmp_path / "none", "int8"))
    add_calibration(model)
    first, second = (bake(make_job(model, tmp_path / name, "int8")).read_bytes() for name in ("one", "two"))
    assert first == second
    assert precision.of_graph(onnx.load_model_from_string(first)) == "int8"


def test_symmetric_int8_has_no_zero_points_and_float_biases_as_tensorrt_requires(tmp_path: Path) -> None:
    model = add_calibration(make_tiny_model(tmp_path / "model"))
    graph = read(bake(make_job(model, tmp_path, "int8"), symmetric=True)).graph
    kinds = {item.data_type for item in graph.initializer}
    assert TensorProto.UINT8 not in kinds and TensorProto.INT32 not in kinds
    zeros = [numpy_helper.to_array(item) for item in graph.initializer if item.name.endswith("zero_point")]
    assert zeros and not any(np.any(item) for item in zeros)


def test_an_int8_engine_answers_like_its_model(tmp_path: Path) -> None:
    model = add_calibration(make_tiny_model(tmp_path / "model"))
    wide, narrow = (build_and_load(OnnxRuntime, make_job(model, tmp_path / name, name)) for name in ("fp32", "int8"))
    contract = Contract.load(model)
    given = next(calibration(model, contract, contract.graphs[0]))
    assert np.max(np.abs(wide.infer(given)["action"] - narrow.infer(given)["action"])) < 0.05


def test_a_graph_that_already_is_in_the_precision_is_taken_as_it_is(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    onnx.save(conversion.convert(onnx.load(GRAPH), "fp16"), model / "policy.onnx")
    assert bake(make_job(model, tmp_path / "same", "fp16")) == model / "policy.onnx"
    with pytest.raises(IncompatibleError, match="its graph is fp16 and the release asks for bf16"):
        bake(make_job(model, tmp_path / "other", "bf16"))


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(HomeportError, match="export the model again"):
        read(tmp_path / "bad.onnx")
    with pytest.raises(HomeportError, match="export the model again"):
        read(tmp_path / "missing.onnx")
