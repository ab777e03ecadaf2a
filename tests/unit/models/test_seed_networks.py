"""The seed's four networks: they run, they export, and ONNX Runtime gives what torch gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.release import PROFILES
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.engine.goldens import read_goldens
from stack.engine.normalization import Normalization
from tests.fakes.jobs import build_and_load, make_job
from tests.fakes.schemas import check

torch = pytest.importorskip("torch", reason="PyTorch is not installed: python -m pip install -r requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: python -m pip install -r requirements/train.txt")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
FEATURES = {"optimized": 2048, "hardware_accelerated": 8192, "resource_optimized": 1024, "safe_production": 1024}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from stack.models.seeded import write

    found = {name: tmp_path_factory.mktemp("seed") / name for name in PROFILES}
    for name, folder in found.items():
        write(name, "1.0.0", folder)
    return found


@pytest.mark.parametrize("name", PROFILES)
def test_d03_every_network_gives_steps_of_two_speeds_from_inputs_of_its_shapes(name: str) -> None:
    from stack.models.seed import network

    made = network(name, steps=8)
    with torch.no_grad():
        output = made(*made.examples())
    assert made.vision.in_features == FEATURES[name]
    assert output.shape == (1, 8, 3 if name == "safe_production" else 2)
    assert torch.isfinite(output).all()
    if name == "safe_production":
        assert ((output[..., 2] >= 0) & (output[..., 2] <= 1)).all()


@pytest.mark.parametrize("name", PROFILES)
def test_every_network_goes_through_torch_export_unchanged(name: str) -> None:
    from stack.models.seed import network

    made = network(name, steps=8)
    inputs = made.examples()
    exported = torch.export.export(made, inputs).module()
    with torch.no_grad():
        assert torch.equal(exported(*inputs), made(*inputs))


@pytest.mark.parametrize("name", PROFILES)
def test_a_written_network_is_a_model_that_gives_its_goldens(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[name]
    check(json.loads((folder / "vla.json").read_bytes()), "vla")
    contract = Contract.load(folder)
    contract.check_files(folder)
    backend, units = build_and_load(OnnxRuntime, make_job(folder, tmp_path)), Normalization.load(folder, contract)
    for sample in read_goldens(folder, contract, "fp32"):
        assert np.abs(units.actions(backend.infer(sample.inputs)) - sample.action).max() <= sample.tolerance


def test_torch_and_onnx_runtime_agree_on_inputs_that_were_not_exported_with(folders: dict[str, Path]) -> None:
    from stack.models.seed import network
    from stack.models.seeded import compare

    for name, folder in folders.items():
        made = network(name, steps=8)
        for seed in (11, 12):
            compare(made, folder / "policy.onnx", made.examples(seed))


def test_resource_optimized_carries_the_same_weights_for_half_the_picture(folders: dict[str, Path]) -> None:
    contract = Contract.load(folders["resource_optimized"])
    assert contract.variants == ("small",)
    small = Contract.load(folders["resource_optimized"] / "small")
    assert (contract.image.width, small.image.width) == (224, 112)
    assert small.files["tokenizer.json"] == contract.files["tokenizer.json"]


def test_d16_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    from stack.models.seed import network

    first, again, other = (network("safe_production", 8, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_padding_takes_no_part_in_the_meaning_of_a_command() -> None:
    from stack.models.seed import network

    made = network("hardware_accelerated", 8)
    image, tokens, lidar = made.examples()
    other = tokens.clone()
    other[0, 5] = 7
    with torch.no_grad():
        assert torch.equal(made._understand(tokens), made._understand(tokens.clone()))
        assert not torch.equal(made(image, tokens, lidar), made(image, other, lidar))
        assert made._understand(tokens).shape == (1, 128)
