"""The torch backend computes what the packaged graph computes.

Skipped where torch is not installed (requirements/torch.txt).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError
from stack.engine.backends.onnxruntime import OnnxRuntime
from tests.fakes.jobs import build_and_load, make_job
from tests.fakes.tiny import add_calibration, make_tiny_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")

REFERENCE = Path(__file__).parents[3] / "stack/models/reference/pilot-1.0.0"


def given(contract: Contract, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        item.name: rng.integers(2, 20, item.shape)
        if item.dtype == "int64"
        else rng.random(item.shape).astype(np.float32)
        for item in contract.graphs[-1].inputs
    }


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-5), ("fp16", 5e-3), ("bf16", 5e-2)])
def test_the_reference_policy_in_torch_answers_as_in_onnx_runtime(tmp_path: Path, precision: str, close: float) -> None:
    from stack.engine.backends.torch import Torch

    ours = build_and_load(Torch, make_job(REFERENCE, tmp_path / "torch", precision))
    theirs = build_and_load(OnnxRuntime, make_job(REFERENCE, tmp_path / "onnx"))
    contract = Contract.load(REFERENCE)
    for seed in range(3):
        output = ours.infer(given(contract, seed))["action"]
        assert output.dtype == np.float32 and output.shape == contract.graphs[-1].outputs[0].shape
        assert np.max(np.abs(output - theirs.infer(given(contract, seed))["action"])) < close


def test_torch_refuses_int8_which_it_would_compute_in_fp32(tmp_path: Path) -> None:
    from stack.engine.backends.torch import Torch

    model = add_calibration(make_tiny_model(tmp_path / "model"))
    with pytest.raises(IncompatibleError, match="in fp32"):
        Torch.build(make_job(model, tmp_path, "int8"))


def test_a_graph_that_is_not_what_its_contract_says_is_refused(tmp_path: Path) -> None:
    from stack.engine.backends.torch import Torch

    job = make_job(make_tiny_model(tmp_path / "model"), tmp_path)
    Torch.build(job)
    with pytest.raises(IncompatibleError, match=r"vla\.json says"):
        wrong = replace(job.graph.outputs[0], shape=(1, 8, 3))
        Torch("fp32").load(job.target, replace(job.graph, outputs=(wrong,)))


def test_the_module_can_be_exported_as_a_whole_which_torch_tensorrt_needs() -> None:
    from stack.engine.onnx_torch import TorchGraph

    contract = Contract.load(REFERENCE)
    module = TorchGraph(onnx.load(REFERENCE / "policy.onnx"), contract).eval()
    inputs = tuple(torch.from_numpy(given(contract)[name]) for name in module.names)
    program = torch.export.export(module, inputs)
    with torch.no_grad():
        assert torch.equal(program.module()(*inputs), module(*inputs))


X = [1, 4, 6, 6]
OPERATORS = {
    "pool": [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 0, 0], strides=[2, 2])],
    "global": [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
    "depthwise": [helper.make_node("Conv", ["x", "w"], ["y"], group=4, pads=[0, 1, 2, 1], dilations=[2, 1])],
    "slice": [helper.make_node("Slice", ["x", "one", "four", "axis", "two"], ["y"])],
    "split": [helper.make_node("Split", ["x"], ["a", "y"], axis=1, num_outputs=2)],
    "squeeze": [helper.make_node("Squeeze", ["x"], ["y"])],
    "transpose": [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])],
    "softmax": [helper.make_node("Softmax", ["x"], ["y"], axis=1)],
    "norm": [helper.make_node("LayerNormalization", ["x", "six"], ["y"], axis=-1)],
    "gelu": [helper.make_node("Erf", ["x"], ["e"]), helper.make_node("Mul", ["x", "e"], ["y"])],
    "gather": [helper.make_node("Gather", ["x", "index"], ["y"], axis=2)],
    "reduce": [helper.make_node("ReduceMean", ["x", "axis"], ["y"], keepdims=0)],
    "everything": [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)],
    "clip": [helper.make_node("Clip", ["x", "low", ""], ["y"])],
    "flatten": [helper.make_node("Flatten", ["x"], ["y"], axis=2)],
    "expand": [helper.make_node("Expand", ["low", "shape"], ["e"]), helper.make_node("Add", ["x", "e"], ["y"])],
    "lstm": [
        helper.make_node("Reshape", ["x", "rows"], ["r"]),
        helper.make_node("LSTM", ["r", "lw", "lr", "lb"], ["y"], hidden_size=5),
    ],
}
_RNG = np.random.default_rng(4)
CONSTANTS = {
    "w": _RNG.standard_normal((4, 1, 3, 3)).astype(np.float32),
    "one": np.array([1]), "two": np.array([2]), "four": np.array([4]), "axis": np.array([2]),
    "six": np.arange(1, 7, dtype=np.float32), "index": np.array([[0, 5], [-1, 2]]), "low": np.array(0.3, np.float32),
    "shape": np.array(X), "rows": np.array([6, -1, 8]),
    "lw": _RNG.standard_normal((1, 20, 8)).astype(np.float32),
    "lr": _RNG.standard_normal((1, 20, 5)).astype(np.float32),
    "lb": _RNG.standard_normal((1, 40)).astype(np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_gives_what_onnx_runtime_gives(name: str) -> None:
    import onnxruntime

    from stack.engine.onnx_torch import TorchGraph

    nodes = OPERATORS[name]
    used = {item for node in nodes for item in node.input} & set(CONSTANTS)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(CONSTANTS[item], item) for item in sorted(used)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.random.default_rng(5).standard_normal(X).astype(np.float32)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"x": x})[0]
    tiny = Contract.load(REFERENCE)
    contract = replace(tiny, inputs=(replace(tiny.inputs[0], name="x"),), output="y")
    with torch.no_grad():
        output = TorchGraph(model, contract)(torch.from_numpy(x)).numpy()
    assert output.shape == wanted.shape
    assert np.allclose(output, wanted, atol=1e-5)


def test_an_operator_that_is_not_known_is_named() -> None:
    from stack.engine.onnx_torch import TorchGraph

    node = helper.make_node("Det", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 4]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "det", ends[:1], ends[1:]))
    with pytest.raises(IncompatibleError, match="operator Det"):
        TorchGraph(model, Contract.load(REFERENCE))
