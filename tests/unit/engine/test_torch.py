"""The torch backend computes what the packaged graph computes.

Skipped where torch is not installed (requirements/torch.txt).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

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
    names = [item.name for item in contract.graphs[0].inputs]
    module = TorchGraph(onnx.load(REFERENCE / "policy.onnx"), names, ["action"]).eval()
    inputs = tuple(torch.from_numpy(given(contract)[name]) for name in module.names)
    program = torch.export.export(module, inputs)
    with torch.no_grad():
        assert torch.equal(*program.module()(*inputs), *module(*inputs))
