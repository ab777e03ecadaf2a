"""The seed's four networks: they run, they export, and ONNX Runtime gives what torch gives."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_registry.core.contract import Contract
from model_registry.core.layout import Layout
from model_registry.core.release import PROFILES
from model_registry.packing import prepare
from stack.engine import wiring
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.engine.goldens import read_goldens
from stack.engine.inference import Inference
from stack.models.package import CAMERA
from stack.policy.load import find, load
from tests.fakes.jobs import make_job
from tests.fakes.observations import drive, feed, ros
from tests.fakes.robot import make_release
from tests.fakes.schemas import check

torch = pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
pytest.importorskip("onnxscript", reason="ONNX Script is not installed: run make test-torch")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
FEATURES = {"optimized": 2048, "hardware_accelerated": 8192, "resource_optimized": 1024, "safe_production": 1024}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from stack.models.seeded import write

    found = {name: tmp_path_factory.mktemp("seed") / name for name in PROFILES}
    for name, folder in found.items():
        write(name, "1.0.0", folder)
    return found


def test_they_are_packed_as_they_are(folders: dict[str, Path]) -> None:
    assert {name: prepare(folder).changed for name, folder in folders.items()} == {name: {} for name in PROFILES}


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
    job = make_job(folder, tmp_path)
    assert wiring.build(OnnxRuntime, job) == "fp32"
    model = Inference(folder, contract, wiring.load(OnnxRuntime, "fp32", job.target, contract))
    for sample in read_goldens(folder, contract, "fp32"):
        assert (np.abs(model(sample.seen).actions - sample.action) <= sample.tolerance).all()


def test_torch_and_onnx_runtime_agree_on_inputs_that_were_not_exported_with(folders: dict[str, Path]) -> None:
    from stack.models.pilot import Pilot
    from stack.models.seed import network
    from stack.models.seeded import compare, observation

    for name, folder in folders.items():
        made = network(name, steps=8)
        pilot = Pilot(folder)
        for seed in (11, 12):
            seen = observation(seed)
            compare(made, pilot, seen, pilot.run(seen))


def test_resource_optimized_carries_the_same_weights_for_half_the_picture(folders: dict[str, Path]) -> None:
    contract = Contract.load(folders["resource_optimized"])
    assert contract.variants == ("small",)
    small = Contract.load(folders["resource_optimized"] / "small")
    assert [each.observation.cameras[CAMERA].width for each in (contract, small)] == [224, 112]
    assert small.files["tokenizer.json"] == contract.files["tokenizer.json"]


def test_d30_language_alone_and_the_rest_give_what_the_whole_network_gives(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """The one graph, exported beside the two that the model is made of; both in ONNX Runtime, and torch as a third."""
    from stack.models.export import graph
    from stack.models.seed import network

    folder = folders["resource_optimized"]
    made = network("resource_optimized", steps=8)
    graph(made, made.examples(), tmp_path / "whole.onnx")
    whole = onnxruntime.InferenceSession(tmp_path / "whole.onnx", providers=["CPUExecutionProvider"])
    job = make_job(folder, tmp_path)
    wiring.build(OnnxRuntime, job)
    runner = wiring.load(OnnxRuntime, "fp32", job.target, job.contract)
    for seed in range(5):
        inputs = made.examples(seed)
        given = {name: part.numpy() for name, part in zip(("image", "tokens", "lidar"), inputs, strict=True)}
        sources = {f"cameras.{CAMERA}": given["image"], "text": given["tokens"], "lidar": given["lidar"]}
        output = runner.infer(sources)
        assert np.abs(output - whole.run(["action"], given)[0][0]).max() < 1e-5
        with torch.no_grad():
            assert np.abs(output - made(*inputs).numpy()[0]).max() < 1e-5
    sizes = {name: (folder / name).stat().st_size for name in ("language.onnx", "policy.onnx")}
    assert sum(sizes.values()) < 1.2 * (tmp_path / "whole.onnx").stat().st_size, "no graph carries the other's weights"


def test_r09_the_picture_shrinks_to_112_and_grows_to_224_without_a_tick_that_has_no_action(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """At 20 Hz in played time: both are loaded and warm before the first frame, and nothing is opened for a change."""
    make_release(tmp_path / "robot", folders["resource_optimized"])
    _, slot = load(find(Layout.at(tmp_path / "robot"), "a"))
    sizes = {
        id(each): each.contract.observation.cameras[CAMERA].width for each in (slot.pace.full, slot.pace.small) if each
    }
    assert sorted(sizes.values()) == [112, 224]
    assert all(each.cache.misses == 1 for each in (slot.pace.full, slot.pace.small) if each), (
        "warm: it has understood nothing"
    )
    drive(slot)
    seen, empty = [], []
    for tick in range(1, 600):
        now = 10.0 + tick / 20
        feed(slot, now)
        if tick % 20 == 0:
            slot.inference.cycle_s = 0.02  # as on a machine that is so slow that there is something to give up
            slot.pace.adjust({"temperature_c": 99.0 if tick < 300 else 20.0}, now)
        slot.infer(now, ros(now))
        action = slot.action(now, ros(now))
        seen.append(sizes[id(slot.inference)])
        empty += [(tick, action.void_reason)] if action.steps is None else []
    assert empty == [] and slot.ticks.empty == 0
    assert [size for size, _ in groupby(seen)] == [224, 112, 224]


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
        assert torch.equal(made.understand(tokens), made.understand(tokens.clone()))
        assert not torch.equal(made(image, tokens, lidar), made(image, other, lidar))
        assert made.understand(tokens).shape == (1, 128)
