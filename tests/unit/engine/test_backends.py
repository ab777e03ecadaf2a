"""Backends against the contract they are loaded with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, IncompatibleError
from stack.engine.backends.null import Null
from stack.engine.backends.onnxruntime import OnnxRuntime, available_cores
from tests.fakes.tiny import STEPS, make_tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


def inputs(contract: Contract) -> dict[str, np.ndarray]:
    return {item.name: np.ones(item.shape, np.dtype(item.dtype)) for item in contract.inputs}


def test_a_built_engine_answers_in_the_contracts_shape(model: Path, tmp_path: Path) -> None:
    contract = Contract.load(model)
    OnnxRuntime.build(model, contract, {}, tmp_path)
    backend = OnnxRuntime("fp32")
    backend.load(tmp_path, contract)
    first, second = backend.infer(inputs(contract)), backend.infer(inputs(contract))
    assert first.shape == (1, STEPS, 2) and first.dtype == np.float32
    assert np.array_equal(first, second)
    assert set(backend.identity.versions) == {"onnxruntime"}


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, inputs=c.inputs[:2]),
        lambda c: replace(c, inputs=(replace(c.inputs[0], shape=(1, 3, 224, 224)), *c.inputs[1:])),
        lambda c: replace(c, inputs=(c.inputs[0], replace(c.inputs[1], dtype="float32"), c.inputs[2])),
        lambda c: replace(c, output="velocity"),
        lambda c: replace(c, output_shape=(1, STEPS, 3)),
    ],
)
def test_a_graph_that_is_not_what_its_contract_says_is_refused(model: Path, tmp_path: Path, change) -> None:
    contract = Contract.load(model)
    OnnxRuntime.build(model, contract, {}, tmp_path)
    with pytest.raises(IncompatibleError, match=r"vla\.json says"):
        OnnxRuntime("fp32").load(tmp_path, change(contract))


def test_a_graph_that_is_no_graph_is_one_clear_error(model: Path, tmp_path: Path) -> None:
    (model / "policy.onnx").write_bytes(b"not a graph")
    with pytest.raises(HomeportError, match="export the model again") as error:
        OnnxRuntime.build(model, Contract.load(model), {}, tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_of_several_graphs_is_refused(model: Path, tmp_path: Path) -> None:
    contract = Contract.load(model)
    with pytest.raises(IncompatibleError, match="one graph"):
        OnnxRuntime.build(
            model, replace(contract, graphs={"vision": "policy.onnx", "head": "policy.onnx"}), {}, tmp_path
        )


def test_at_least_one_core_is_available() -> None:
    assert available_cores() >= 1


@pytest.mark.parametrize("busy", [True, False])
def test_the_null_backend_takes_its_time(busy: bool) -> None:
    import time

    start = time.monotonic()
    Null(ms=20.0, busy=busy).infer({})
    assert 0.02 <= time.monotonic() - start < 2.0
