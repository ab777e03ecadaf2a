"""The reference models in every precision that a release can ask for: built, read back and proved, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.release import PRECISIONS
from stack.models import vectors
from stack.models.package import CALIBRATION, CONTRACT, TOLERANCE, read_golden
from stack.models.pilot import Pilot
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
    made = vectors.calibration(Pilot(folder))
    assert {name: len(stack) for name, stack in shipped.items()} == dict.fromkeys(shipped, len(made))
    for name, stack in shipped.items():
        assert np.allclose(stack, np.concatenate([each[name] for each in made]), atol=1e-6)
    for golden in map(read_golden, (folder / "golden").iterdir()):
        pairs = [(shipped[name], getattr(golden, name)) for name in ("image", "tokens", "lidar")]
        apart = [np.abs(stack - one).reshape(len(made), -1).max(axis=1) > 1e-3 for stack, one in pairs]
        assert np.any(apart, axis=0).all(), golden.name


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
        dark = {name: stack * 0.01 if name == "image" else stack for name, stack in arrays.items()}
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
