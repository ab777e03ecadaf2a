"""The reference models in every precision that a release can ask for: built, read back and proved, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.release import PRECISIONS
from stack.engine.goldens import read_calibration, read_goldens, stacked
from stack.engine.observing import Observation
from stack.engine.preparation import Preparation
from stack.models import vectors
from stack.models.package import CALIBRATION, CONTRACT, TOLERANCE
from tests.fakes.proving import failed, gate

MODELS = sorted((Path(__file__).parents[3] / "stack/models/reference").glob("pilot-*"))
each_model = pytest.mark.parametrize("folder", MODELS, ids=[folder.name for folder in MODELS])


@each_model
def test_its_goldens_have_a_tolerance_for_every_precision(folder: Path) -> None:
    document = json.loads((folder / CONTRACT).read_bytes())
    assert set(TOLERANCE) == set(PRECISIONS)
    assert all(golden["tolerance"] == TOLERANCE for golden in document["goldens"])


@each_model
def test_its_calibration_data_is_what_the_simulator_gives_and_no_golden_is_in_it(folder: Path) -> None:
    document = json.loads((folder / CONTRACT).read_bytes())
    assert document["calibration"] == [CALIBRATION]
    with np.load(folder / CALIBRATION) as arrays:
        shipped = dict(arrays)
    contract = Contract.load(folder)
    made = stacked(vectors.calibration(), contract.observation, 2)
    assert shipped.keys() == made.keys()
    for name, stack in shipped.items():
        assert np.array_equal(stack, made[name], equal_nan=stack.dtype.kind == "f")
    preparation = Preparation(folder, contract)
    chosen = [tensors(preparation, seen) for seen in read_calibration(folder, contract)]
    for golden in read_goldens(folder, contract, "fp32"):
        one = tensors(preparation, golden.seen)
        assert all(any(np.abs(each[name] - one[name]).max() > 1e-3 for name in one) for each in chosen)


def tensors(preparation: Preparation, seen: Observation) -> dict[str, Any]:
    """What is prepared of an observation, as copies."""
    return {name: value.copy() for name, value in preparation(seen).items()}


@each_model
def test_int8_is_built_from_its_own_calibration_data_and_proved(folder: Path, tmp_path: Path) -> None:
    result, where = gate(tmp_path, folder, precision="int8")
    assert json.loads((where / "engine" / "key.json").read_bytes())["precision"] == "int8"
    assert not [name for name in failed(result) if name.startswith("parity")], result
    worst = max(item.value or 0.0 for item in result.checks if item.metric.startswith("parity"))
    assert worst > TOLERANCE["fp32"], "it is computed in it"


def test_int8_with_scales_for_other_pictures_fails_its_goldens(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODELS[0], model)
    with np.load(model / CALIBRATION) as arrays:
        dark = {name: stack // 100 if name == "cameras.front" else stack for name, stack in arrays.items()}
    np.savez_compressed(model / CALIBRATION, **dark)
    document = json.loads((model / CONTRACT).read_bytes())
    document["files"][CALIBRATION] = str(Digest.of_file(model / CALIBRATION))
    (model / CONTRACT).write_text(json.dumps(document))
    result, where = gate(tmp_path, model, precision="int8")
    assert [name for name in failed(result) if name.startswith("parity")]
    assert not (where / "engine" / "ready").exists()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_what_onnx_runtime_computes_in_fp32_here_is_refused_and_never_proved_as_something_else(
    tmp_path: Path, precision: str
) -> None:
    """A processor that has kernels for it may pass: then it is what was read back, and within its tolerance."""
    try:
        result, where = gate(tmp_path, MODELS[0], precision=precision)
    except HomeportError as error:
        assert f"the release asks for {precision}" in str(error) or "choose another precision" in str(error)
        assert not list((tmp_path / "robot").glob("**/ready"))
    else:
        assert json.loads((where / "engine" / "key.json").read_bytes())["precision"] == precision
        assert not [name for name in failed(result) if name.startswith("parity")]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_in_torch_which_does_compute_it_the_reference_is_within_its_tolerance(tmp_path: Path, precision: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
    result, where = gate(tmp_path, MODELS[0], {"inference_p99_ms": 1000.0}, precision=precision, backends=["torch"])
    assert json.loads((where / "engine" / "key.json").read_bytes())["precision"] == precision
    parity = {item.metric: item for item in result.checks if item.metric.startswith("parity")}
    assert all(item.ok and item.threshold == TOLERANCE[precision] for item in parity.values()), parity
    assert max(item.value or 0.0 for item in parity.values()) > 1e-5, "it is computed in it"
