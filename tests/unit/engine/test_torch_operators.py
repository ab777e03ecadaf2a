"""What the torch backends compute of an ONNX graph, node by node, is what ONNX Runtime computes; the rest is refused.

Skipped where torch is not installed (requirements/torch.txt).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as WithoutKernel

from model_registry.core.errors import IncompatibleError
from tests.fakes.onnx_cases import CASES, B, F, H, I, L, U
from tests.fakes.onnx_nodes import Case, case, floats, held, model_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")

TOLERANCE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-6, np.dtype(np.float16): 2e-3}
KINDS: dict[str, list[Case]] = defaultdict(list)
for _case in CASES:
    KINDS[_case.kind].append(_case)


def computed(model: onnx.ModelProto, given: dict[str, NDArray[Any]], results: list[str]) -> list[NDArray[Any]]:
    from stack.engine.onnx_torch import TorchGraph

    module = TorchGraph(model, list(given), results).eval()
    with torch.inference_mode():
        made = module(*(torch.from_numpy(value) for value in given.values()))
    return [value.numpy() for value in made]


def wanted(each: Case) -> list[NDArray[Any]]:
    """By ONNX Runtime without its rewriting of graphs; by ONNX's own evaluator where that has no kernel."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(each.model().SerializeToString(), options)
    except WithoutKernel:
        return ReferenceEvaluator(each.model()).run(each.results(), each.given())
    return session.run(each.results(), each.given())


def difference(ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    """How two results differ, by more than the rounding of their type; empty when they do not."""
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        return f"{ours.dtype} {ours.shape} instead of {theirs.dtype} {theirs.shape}"
    if ours.dtype.kind != "f":
        return "" if np.array_equal(ours, theirs) else f"{ours.ravel()[:8]} instead of {theirs.ravel()[:8]}"
    close = TOLERANCE[ours.dtype]
    ours = ours.astype(np.float64)
    theirs = theirs.astype(np.float64)
    largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=1.0)
    if np.allclose(ours, theirs, rtol=close, atol=close * largest, equal_nan=True):
        return ""
    return f"{ours.ravel()[:8]} instead of {theirs.ravel()[:8]}"


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_gives_what_onnx_runtime_gives(kind: str) -> None:
    """Given to the graph when it runs, and known when it is read: then it is computed in another way."""
    found = []
    for each in KINDS[kind]:
        theirs = wanted(each)
        for constant in (False, True):
            given = {} if constant else each.given()
            ours = computed(each.model(constant=constant), given, each.results())
            differences = [difference(one, other) for one, other in zip(ours, theirs, strict=True)]
            found += [f"{each} {text}" for text in differences if text]
    assert found == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0].given()])
def test_an_operator_can_be_exported_which_torch_tensorrt_needs(kind: str) -> None:
    from stack.engine.onnx_torch import TorchGraph

    each = KINDS[kind][0]
    module = TorchGraph(each.model(), list(each.given()), each.results()).eval()
    inputs = tuple(torch.from_numpy(value) for value in each.given().values())
    program = torch.export.export(module, inputs)
    with torch.no_grad():
        pairs = zip(program.module()(*inputs), module(*inputs), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_every_operator_and_every_attribute_of_it_is_tried_here() -> None:
    from stack.engine.onnx_torch.operators import OPERATORS

    tried = {kind: {name for each in cases for name in each.attributes} for kind, cases in KINDS.items()}
    untried = [
        f"{kind}: {name}" for kind, entry in OPERATORS.items() for name in entry.attributes - tried.get(kind, set())
    ]
    untried += [kind for kind in OPERATORS if kind not in tried]
    refused = {(each.kind, name) for each, _ in REFUSED for name in each.attributes}
    untried += [
        f"{kind}: another {name}"
        for kind, entry in OPERATORS.items()
        for name in entry.only
        if (kind, name) not in refused
    ]
    assert untried == []


PICTURE = floats(1, 2, 5, 6)
LSTM = (floats(6, 2, 8), held(floats(1, 20, 8)), held(floats(1, 20, 5)))
GRU = (floats(6, 2, 8), held(floats(1, 15, 8)), held(floats(1, 15, 5)))
BIAS = held(floats(1, 40))
NEW_SIZE = held([1, 2, 7, 9])
TEXT = numpy_helper.from_array(np.array(["stop"], dtype=object))
LATER = "is known only when the graph runs"
STATISTICS = (floats(3), floats(3), floats(3), np.abs(floats(3)))
REFUSED = [
    (case("Det", floats(1, 4, 4)), "operator Det: "),
    (case("NonZero", F), "operator NonZero of 'x0' that is known only when the graph runs: "),
    (case("Loop", F), "operator Loop: "),
    (case("FusedMatMul", F, floats(4, 4), domain="com.microsoft"), "FusedMatMul of the domain com.microsoft: "),
    (case("Cast", F, to=TensorProto.FLOAT8E4M3FN), "operator Cast to type 17: "),
    (case("Mod", F, floats(4)), "operator Mod of floats with fmod=0: "),
    (case("Add", F, floats(3)), "operator Add as it is used here"),
    (case("MatMul", L, L[0].T.copy()), "operator MatMul of integers: "),
    (case("Gemm", L[0], L[0].T.copy()), "operator Gemm of integers: "),
    (case("Einsum", L[0], equation="ij->ji"), "operator Einsum of integers: "),
    (case("ReduceMean", L, held([0])), "operator ReduceMean of int64: "),
    (case("ReduceL2", I, held([0])), "operator ReduceL2 of int32: "),
    (case("ReduceLogSumExp", U, held([0])), "operator ReduceLogSumExp of uint8: "),
    (case("ReduceL1", F, noop_with_empty_axes=1), "operator ReduceL1 with noop_with_empty_axes=1: "),
    (case("ReduceL2", F, noop_with_empty_axes=1), "operator ReduceL2 with noop_with_empty_axes=1: "),
    (case("ReduceLogSumExp", F, noop_with_empty_axes=1), "operator ReduceLogSumExp with noop_with_empty_axes=1: "),
    (case("ReduceSumSquare", F, noop_with_empty_axes=1), "operator ReduceSumSquare with noop_with_empty_axes=1: "),
    (case("ReduceSum", F, np.array([1])), LATER),
    (case("CumSum", F, np.array(1)), LATER),
    (case("Reshape", F, np.array([4, -1])), LATER),
    (case("Expand", F, np.array([2, 3, 4])), LATER),
    (case("Tile", F, np.array([1, 1, 2])), LATER),
    (case("Slice", F, np.array([0]), held([1])), LATER),
    (case("Squeeze", F[:1], np.array([0])), LATER),
    (case("Split", F, np.array([1, 2]), axis=1, outputs=2), LATER),
    (case("Pad", F, np.array([0, 0, 1, 0, 0, 1])), LATER),
    (case("Range", np.array(0), held(4), held(1)), LATER),
    (case("ConstantOfShape", np.array([2, 3])), LATER),
    (case("TopK", F, np.array([2]), outputs=2), LATER),
    (case("Trilu", F, np.array(1)), LATER),
    (case("OneHot", np.array([1]), np.array(4), held([0.0, 1.0])), LATER),
    (case("Resize", PICTURE, None, None, np.array([1, 2, 7, 9])), LATER),
    (case("Split", floats(5), num_outputs=4, outputs=4), "operator Split of 5 into 4 parts: "),
    (case("Split", floats(6), num_outputs=3, outputs=2), "operator Split of 6 into 3 parts: "),
    (case("Slice", F, axes=[0], starts=[0], ends=[1], opset=9), "operator Slice with the attribute"),
    (case("Pad", F, pads=[0, 0, 1, 0, 0, 1], opset=10), "operator Pad with the attribute pads: "),
    (case("Pad", F, held([0, 0, 4, 0, 0, 0]), mode="reflect"), "operator Pad with mode=reflect by 4 and 0 of 4: "),
    (case("Pad", F, held([0, 0, 1, 0, 0, 0]), mode="round"), "operator Pad with mode=round"),
    (case("TopK", F, k=2, opset=9, outputs=2), "operator TopK with the attribute k: "),
    (case("ScatterND", F, np.array([[0]]), F[:1], reduction="sum"), "operator ScatterND with reduction=sum: "),
    (case("ScatterElements", F, L[:1] * 0, F[:1], reduction="sum"), "operator ScatterElements with reduction=sum: "),
    (case("Conv", PICTURE, held(floats(2, 2, 3, 3)), auto_pad="SAME"), "operator Conv with auto_pad=SAME: "),
    (case("Conv", floats(1, 2, 4, 4, 4, 4), held(floats(2, 2, 1, 1, 1, 1))), "operator Conv over 4 axes: "),
    (case("ConvTranspose", PICTURE, held(floats(2, 2, 3, 3)), auto_pad="SAME_UPPER"), "with auto_pad=SAME_UPPER: "),
    (case("ConvTranspose", PICTURE, held(floats(2, 2, 3, 3)), output_shape=[7, 8]), "the attribute output_shape: "),
    (case("MaxPool", PICTURE, kernel_shape=[2, 2], outputs=2), "operator MaxPool with 2 outputs: "),
    (case("MaxPool", PICTURE.astype(np.int8), kernel_shape=[2, 2]), "operator MaxPool of integers: "),
    (case("MaxPool", PICTURE, kernel_shape=[2, 2], storage_order=1), "operator MaxPool with storage_order=1: "),
    (
        case("MaxPool", PICTURE, kernel_shape=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1),
        "operator MaxPool with ceil_mode=1 and pads=[1, 1, 0, 0]: ",
    ),
    (case("AveragePool", PICTURE, kernel_shape=[2, 2], pads=[1, 0, 0, 0]), "operator AveragePool with pads="),
    (case("AveragePool", PICTURE, kernel_shape=[2, 2], dilations=[2, 1], opset=19), "with dilations=[2, 1]: "),
    (case("Resize", PICTURE, held([1.0, 1.0, 2.0, 2.0]), opset=10), "operator Resize of opset 10: "),
    (case("Resize", PICTURE, None, None, NEW_SIZE, mode="area"), "operator Resize with mode=area: "),
    (case("Resize", PICTURE, None, None, NEW_SIZE, nearest_mode="up"), "operator Resize with nearest_mode=up: "),
    (
        case("Resize", PICTURE, None, None, NEW_SIZE, coordinate_transformation_mode="tf_crop_and_resize"),
        "operator Resize with coordinate_transformation_mode=tf_crop_and_resize: ",
    ),
    (case("Resize", PICTURE.astype(np.uint8), None, None, NEW_SIZE, mode="linear"), "of integers with mode=linear: "),
    (case("Resize", PICTURE, None, None, NEW_SIZE, mode="linear", antialias=1), "with antialias=1: "),
    (case("Resize", PICTURE, None, None, NEW_SIZE, mode="cubic", exclude_outside=1), "with exclude_outside=1: "),
    (
        case("Resize", PICTURE, None, None, NEW_SIZE, keep_aspect_ratio_policy="not_larger"),
        "with keep_aspect_ratio_policy=not_larger: ",
    ),
    (case("LayerNormalization", F, floats(4), floats(4), outputs=2), "operator LayerNormalization with 2 outputs: "),
    (case("LayerNormalization", H, H[0, 0], stash_type=10), "operator LayerNormalization with stash_type=10: "),
    (case("RMSNormalization", H, H[0, 0], stash_type=10, opset=23), "RMSNormalization with stash_type=10: "),
    (
        case("GroupNormalization", F, floats(3), floats(3), num_groups=3, stash_type=10, opset=21),
        "operator GroupNormalization with stash_type=10: ",
    ),
    (case("BatchNormalization", F, *STATISTICS, training_mode=1), "operator BatchNormalization with training_mode=1: "),
    (case("BatchNormalization", F, *STATISTICS, spatial=1, opset=8), "BatchNormalization with the attribute spatial: "),
    (case("LSTM", *LSTM, hidden_size=5, direction="reverse"), "operator LSTM with direction=reverse: "),
    (case("LSTM", *LSTM, hidden_size=5, layout=1), "operator LSTM with layout=1: "),
    (case("LSTM", *LSTM, hidden_size=5, input_forget=1), "operator LSTM with input_forget=1: "),
    (case("LSTM", *LSTM, hidden_size=5, clip=3.0), "operator LSTM with the attribute clip: "),
    (case("LSTM", *LSTM, hidden_size=5, activations=["Sigmoid", "Relu", "Tanh"]), "operator LSTM with activations="),
    (case("LSTM", *LSTM, BIAS, held([6, 6], np.int32), hidden_size=5), "operator LSTM with lengths of sequences: "),
    (
        case("LSTM", *LSTM, BIAS, None, None, None, held(floats(1, 15)), hidden_size=5),
        "operator LSTM with peepholes: ",
    ),
    (case("GRU", *GRU, hidden_size=5, direction="bidirectional"), "operator GRU with direction=bidirectional: "),
    (case("GRU", *GRU, hidden_size=5, layout=1), "operator GRU with layout=1: "),
    (case("GRU", *GRU, hidden_size=5, activations=["Sigmoid", "Relu"]), "operator GRU with activations="),
    (case("Constant", value_string="stop"), "operator Constant with the attribute value_string: "),
    (case("Constant", value=TEXT), "has the type STRING"),
    (case("Identity", np.array([1], np.uint16)), "input x0 has the type UINT16"),
    (case("Identity", held([1], np.uint64)), "tensor x0 has the type UINT64"),
    (case("Identity", F, opset=6), "opset 6: the torch backends read 7 to 23"),
    (case("Identity", F, opset=24), "opset 24: the torch backends read 7 to 23"),
]  # fmt: skip
"""Nodes, and what a refusal says of them."""


@pytest.mark.parametrize(("each", "says"), REFUSED, ids=lambda item: str(item) if isinstance(item, Case) else "")
def test_what_would_not_be_computed_as_onnx_says_is_refused_when_the_graph_is_read(each: Case, says: str) -> None:
    from stack.engine.onnx_torch import TorchGraph

    with pytest.raises(IncompatibleError) as refused:
        TorchGraph(each.model(), list(each.given()), each.results())
    message = str(refused.value)
    assert says in message
    assert "\n" not in message and "; " in message


ENDS = {"pose": F, "half": H, "count": L, "small": I, "pixels": U, "mask": B}
"""An input of each type that a graph may have."""


def test_a_graph_takes_and_gives_any_number_of_tensors_of_any_type_by_name() -> None:
    nodes = [
        helper.make_node("Identity", ["mask"], ["same_mask"]),
        helper.make_node("Not", ["mask"], ["no_mask"]),
        helper.make_node("Where", ["no_mask", "pose", "zero"], ["masked"]),
        helper.make_node("Add", ["count", "one"], ["more"]),
        helper.make_node("Cast", ["pixels"], ["small_pixels"], to=TensorProto.INT32),
        helper.make_node("Sub", ["small", "small_pixels"], ["smaller"]),
        helper.make_node("Neg", ["half"], ["negative"]),
    ]
    constants = {"zero": np.array(0, np.float32), "one": np.array(1)}
    results = ["smaller", "same_mask", "no_mask", "masked", "more", "negative", "zero", "pixels"]
    model = model_of(nodes, ENDS, constants, results)
    backwards = dict(reversed(ENDS.items()))
    made = dict(zip(results, computed(model, backwards, results), strict=True))
    assert {name: value.dtype.name for name, value in made.items()} == {
        "smaller": "int32", "same_mask": "bool", "no_mask": "bool", "masked": "float32", "more": "int64",
        "negative": "float16", "zero": "float32", "pixels": "uint8",
    }  # fmt: skip
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(results, ENDS)
    assert [difference(one, other) for one, other in zip(made.values(), theirs, strict=True)] == [""] * len(results)
    some = computed(model, ENDS, ["masked", "more"])
    assert np.array_equal(some[0], made["masked"]) and np.array_equal(some[1], made["more"])


@pytest.mark.parametrize(
    ("names", "results", "says"),
    [
        (["image"], ["y"], "inputs image: the graph takes x;"),
        ([], ["y"], "inputs none: the graph takes x;"),
        (["x"], ["action"], "output action: the graph does not give it;"),
    ],
)
def test_other_inputs_and_outputs_than_those_of_the_graph_are_refused(
    names: list[str], results: list[str], says: str
) -> None:
    from stack.engine.onnx_torch import TorchGraph

    with pytest.raises(IncompatibleError) as refused:
        TorchGraph(model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": F}, {}, ["y"]), names, results)
    assert says in str(refused.value)


def test_an_axis_without_a_size_is_refused() -> None:
    from stack.engine.onnx_torch import TorchGraph

    model = case("Neg", F).model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(IncompatibleError, match="input x0: an axis has no size"):
        TorchGraph(model, ["x0"], ["y0"])


def test_what_follows_from_shapes_is_computed_when_the_graph_is_read() -> None:
    """A mask of as many columns as the input has, as an exporter writes it, and a table of positions."""
    from stack.engine.onnx_torch.plan import GraphPlan

    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["width"]),
        helper.make_node("Range", ["zero", "width", "one"], ["columns"]),
        helper.make_node("Unsqueeze", ["columns", "axis"], ["rows"]),
        helper.make_node("LessOrEqual", ["columns", "rows"], ["causal"]),
        helper.make_node("Cast", ["columns"], ["positions"], to=TensorProto.FLOAT),
        helper.make_node("Sin", ["positions"], ["table"]),
        helper.make_node("MatMul", ["x", "x"], ["scores"]),
        helper.make_node("Where", ["causal", "scores", "nothing"], ["masked"]),
        helper.make_node("Add", ["masked", "table"], ["y"]),
    ]
    constants = {
        "last": np.array(-1), "zero": np.array(0), "one": np.array(1), "axis": np.array([1]),
        "nothing": np.array(-np.inf, np.float32),
    }  # fmt: skip
    given = {"x": floats(5, 5)}
    model = model_of(nodes, given, constants, ["y"])
    plan = GraphPlan(model, ["x"], ["y"])
    assert [each.node.kind for each in plan.computations] == ["MatMul", "Where", "Add"]
    assert sorted(plan.constants) == ["causal", "nothing", "table"]
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], given)
    assert difference(computed(model, given, ["y"])[0], theirs[0]) == ""


def test_a_tensor_is_given_up_after_its_last_use() -> None:
    from stack.engine.onnx_torch.plan import GraphPlan

    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Abs", ["a"], ["kept"]),
        helper.make_node("Split", ["kept"], ["left", "unused"], axis=0, num_outputs=2),
        helper.make_node("Add", ["left", "weight"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    model = model_of(nodes, {"x": F}, {"weight": F[:1]}, ["y", "kept"])
    done = [each.done for each in GraphPlan(model, ["x"], ["y", "kept"]).computations]
    assert done == [(), (), ("unused",), ("left",), ("a", "b")]


def test_a_function_of_the_model_itself_is_computed() -> None:
    body = [
        helper.make_node("Sigmoid", ["v"], ["s"]),
        helper.make_node("Mul", ["v", "s"], ["w"]),
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model = model_of([helper.make_node("Silu", ["x"], ["y"], domain="own")], {"x": F}, {}, ["y"])
    model.opset_import.append(opsets[1])
    model.functions.append(helper.make_function("own", "Silu", ["v"], ["w"], body, opsets[:1]))
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"x": F})
    assert difference(computed(model, {"x": F}, ["y"])[0], theirs[0]) == ""
