"""A LeRobot policy directory becomes a proved model by a handful of commands, and a slot answers as LeRobot does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: run make test-torch")
pytest.importorskip("lerobot", reason="LeRobot is not installed: run make test-torch")

import torch
from lerobot.policies.utils import prepare_observation_for_inference

from model_registry.core.contract import Contract
from model_registry.core.documents import Reader
from model_registry.core.layout import Layout
from stack.engine.statistics import Normaliser
from stack.importers.lerobot import loading
from stack.policy.load import find, load
from tests.fakes import lerobot_policies
from tests.fakes.lerobot_policies import JOINTS, TEXTS
from tests.fakes.observations import command, frame, joints, ros
from tests.fakes.robot import add_model, build_engine, put_in_slot, release_fields, stage
from tests.testbed.lerobot_door import INFO, KINDS, MODES, NAMES, by_commands, pulled, typed, worst_parity

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

LARGEST_DIFFERENCE = 1e-4
"""Of the range of each dimension."""
NOW = 10.0


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in KINDS for mode in MODES[kind]])
def test_a_policy_directory_becomes_a_model_that_answers_as_lerobot(kind: str, mode: str, tmp_path: Path) -> None:
    directory = lerobot_policies.MAKERS[kind](tmp_path / f"{kind}-{mode}", mode)
    assert by_commands(directory, tmp_path / "model", tmp_path / "registry") <= 8
    typed("model", "pull", *pulled(tmp_path), "--to", str(tmp_path / "models"))
    [model] = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    contract = Contract.load(model)
    worst = worst_parity(model, contract)
    print(f"{kind} {mode}: {worst:.1e} of the range of its dimension")
    assert worst <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("kind", KINDS)
def test_its_release_passes_the_gate_and_its_slot_answers(kind: str, tmp_path: Path) -> None:
    directory = lerobot_policies.MAKERS[kind](tmp_path / kind)
    by_commands(directory, tmp_path / "model", tmp_path / "registry")
    typed("model", "pull", *pulled(tmp_path), "--to", str(tmp_path / "models"))
    [model] = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    root = tmp_path / "robot"
    name = add_model(root, model)
    fields: Any = release_fields(name)
    fields["engine"]["budget"] = {"inference_p99_ms": 10_000.0, "peak_memory_bytes": 8 << 30}
    folder = stage(root, fields, name)
    result = build_engine(root, folder)
    slow = ("inference_p99_ms", "cadence_ms")
    assert not [each for each in result.checks if not each.ok and each.metric not in slow], result.document()
    if not result.passed:
        pytest.skip("this machine is too slow for the cadence of the policy; the rest of the gate was passed")
    put_in_slot(root, type(name)(folder.name), "a")
    _, slot = load(find(Layout.at(root), "a"))
    slot.on_command(command(TEXTS[0]), NOW)
    for number in range(3):
        now = NOW + number / 30
        for camera in slot.sources.cameras:
            slot.on_camera(camera, frame(1000 + now, size=(128, 96)), now, ros(now))
        slot.on_joints(joints(1000 + now, **dict.fromkeys(NAMES, 0.1)), now, ros(now))
        slot.infer(now, ros(now))
    assert slot.inferences >= 1 and slot.chunks.non_finite == 0
    steps = slot.action(now, ros(now)).steps
    assert steps is not None and steps.shape[1] == JOINTS


@pytest.mark.parametrize("mode", lerobot_policies.MODES)
def test_numbers_are_normalised_to_the_bit_as_lerobot_does(mode: str, tmp_path: Path) -> None:
    policy = loading.load(lerobot_policies.MAKERS["act"](tmp_path / "act", mode))
    draft = tmp_path / "model"
    (tmp_path / "info.json").write_text(json.dumps(INFO))
    typed("model", "init", str(policy.directory.path), "--out", str(draft), "--dataset", str(tmp_path / "info.json"))
    rows = json.loads((draft / "norm_stats.json").read_bytes())
    readers = [Reader(rows["state"][f"joint_position.{name}"], name) for name in NAMES]
    ours = Normaliser.read(mode, readers)
    generator = np.random.default_rng(2)
    numbers = generator.normal(0.0, 50.0, (200, JOINTS)).astype(np.float32)
    normalised = ours.to_network(numbers)
    theirs = np.stack([_theirs(policy, row) for row in numbers])
    assert np.array_equal(normalised.view(np.int32), theirs.view(np.int32))
    back = policy.postprocessor(torch.from_numpy(normalised.copy())).numpy()
    action = Normaliser.read(mode, [Reader(rows["action"][name], name) for name in NAMES])
    assert np.array_equal(action.to_units(normalised).view(np.int32), back.view(np.int32))


def _theirs(policy: loading.LoadedPolicy, row: np.ndarray) -> np.ndarray:
    """A state through LeRobot's own normalisation."""
    cameras = {key: np.zeros((96, 128, 3), np.uint8) for key in lerobot_policies.CAMERAS}
    raw = prepare_observation_for_inference({"observation.state": row, **cameras}, torch.device("cpu"))
    normalised: np.ndarray = policy.preprocessor(raw)["observation.state"][0].numpy()
    return normalised
