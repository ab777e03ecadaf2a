"""A policy that LeRobot made and exported, on the robot's side: packed, proved, and answered by a slot.

Its goldens are LeRobot's own answers, so parity covers letterbox, words, quantiles, noise and the loop.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry import packing
from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError
from model_registry.core.layout import Layout
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from stack.engine.goldens import read_goldens
from stack.engine.packed import packed
from stack.policy.load import find, load
from stack.policy.slot import Slot
from tests.fakes.observations import command, frame, joints, ros
from tests.fakes.robot import add_model, build_engine, put_in_slot, release_fields, stage
from tests.fakes.settings import robot_toml

KEPT = Path(__file__).parents[2] / "fakes" / "lerobot_model"
NAMES = tuple(f"joint{number}" for number in range(6))
WORDS = "touch the red cube"
LARGEST_DIFFERENCE = 1e-4
"""Of the range of each dimension."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The kept model, listed with its README."""
    folder = tmp_path / "model"
    shutil.copytree(KEPT, folder)
    document = json.loads((folder / "vla.json").read_bytes())
    document["files"]["README.md"] = str(Digest.of_file(folder / "README.md"))
    (folder / "vla.json").write_text(json.dumps(document))
    return folder


def test_it_is_packed_and_no_robot_with_a_base_takes_it(model: Path, tmp_path: Path) -> None:
    contract = packing.prepare(model).contract
    (tmp_path / "robot.toml").write_text(robot_toml(embodiment="arm", sources={"joints": {"max_age_ms": 100}}))
    robot = Robot.load(tmp_path / "robot.toml")
    with pytest.raises(IncompatibleError, match=r"it commands joint_position, and robots of this version have a base"):
        Plan.of(contract, robot).check(contract, robot)


def test_its_actions_are_those_of_lerobot(model: Path) -> None:
    contract = Contract.load(model)
    inference = packed(model, contract)
    samples = read_goldens(model, contract, "fp32")
    actions = np.stack([sample.action for sample in samples])
    spread = np.ptp(actions.reshape(-1, len(NAMES)), axis=0)
    ours = np.stack([inference(sample.seen).actions for sample in samples])
    assert len(samples) == 4
    assert float(np.max(np.abs(ours - actions).max(axis=(0, 1)) / spread)) <= LARGEST_DIFFERENCE


def driven(model: Path, root: Path) -> Slot:
    """A slot that runs the model, proved on this machine."""
    name = add_model(root, model)
    fields: Any = release_fields(name)
    fields["engine"]["budget"] = {"inference_p99_ms": 5000.0, "peak_memory_bytes": 8 << 30}
    folder = stage(root, fields, name)
    result = build_engine(root, folder)
    assert result.passed, result.document()
    put_in_slot(root, Digest(folder.name), "a")
    return load(find(Layout.at(root), "a"))[1]


def seen(slot: Slot, now: float) -> np.ndarray:
    """What the slot says of one moment."""
    for camera in slot.sources.cameras:
        slot.on_camera(camera, frame(1000 + now, noise=90, size=(128, 96)), now, ros(now))
    slot.on_joints(joints(1000 + now, **dict.fromkeys(NAMES, 0.1)), now, ros(now))
    assert slot.infer(now, ros(now)), slot.inputs(now, ros(now))
    steps = slot.action(now, ros(now)).steps
    assert steps is not None
    return steps


def test_it_passes_the_gate_and_a_slot_answers_the_same_for_the_same_frame(model: Path, tmp_path: Path) -> None:
    first = driven(model, tmp_path / "one")
    second = driven(model, tmp_path / "two")
    for slot in (first, second):
        slot.on_command(command(WORDS), 10.0)
    steps = seen(first, 10.0)
    assert steps.shape == (8, len(NAMES))
    assert np.array_equal(steps, seen(second, 10.0)), "the noise follows from the release and the frame"
    later = seen(first, 11.0)
    assert not np.array_equal(steps, later), "and is another one for another frame"
