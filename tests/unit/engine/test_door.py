"""Anybody's policy gets through the door and is what it says, or is refused before it is packed, in one sentence.

Nothing may pass the gate as healthy and then fail in its slot, and nothing may be loaded with another meaning: the
slot's answer is compared with what was computed by hand for the scene.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry import packing
from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from stack.engine.noise import noise
from stack.policy.load import find, load
from stack.policy.slot import Slot
from tests.fakes import doors
from tests.fakes.doors import FOREIGN, INTERFACES, Interface, make_interface, weighed
from tests.fakes.observations import beams, command, frame, joints, odometry, ros
from tests.fakes.robot import add_model, build_engine, put_in_slot, release_fields, stage
from tests.fakes.settings import robot_toml

CAMERAS = {name: {"topic": f"/{name}/image_raw"} for name in ("front", "side", "top", "left", "right")}
NOW = 10.0


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    """robot.toml of a base with five cameras, a lidar, odometry and two joints."""
    path = tmp_path / "robot.toml"
    path.write_text(
        robot_toml(cameras=CAMERAS, sources={"joints": {"max_age_ms": 500}}, safety={"action_max_age_s": 5.0})
    )
    return path


def through_the_door(model: Path, robot: Path) -> str | None:
    """What its publisher is told when a model is packed for a robot; None when it may pass."""
    try:
        prepared = packing.prepare(model)
        known = Robot.load(robot)
        Plan.of(prepared.contract, known).check(prepared.contract, known)
    except HomeportError as error:
        return str(error)
    return None


def unpacked(prepared: packing.Prepared, folder: Path) -> Path:
    """The folder that robots get of a packed model."""
    for path in prepared.files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"".join(prepared.pieces(path)))
    return folder


def started(model: Path, robot: Path, root: Path) -> Slot:
    """A slot with the model in it, after the gate on this robot. Raises AssertionError when the gate refuses."""
    root.mkdir(parents=True, exist_ok=True)
    name = add_model(root, model)
    fields: Any = release_fields(name)
    fields["engine"]["budget"] = {"inference_p99_ms": 5000.0, "peak_memory_bytes": 8 << 30}
    folder = stage(root, fields, name)
    result = build_engine(root, folder)
    assert result.passed, result.document()
    layout = Layout.at(root)
    layout.robot_toml.parent.mkdir(parents=True, exist_ok=True)
    layout.robot_toml.write_text(robot.read_text())
    put_in_slot(root, type(name)(folder.name), "a")
    return load(find(layout, "a"))[1]


def show_the_scene(slot: Slot, now: float = NOW) -> None:
    """Everything that a robot senses, at one moment."""
    for name in slot.sources.cameras:
        slot.on_camera(name, frame(1000 + now, noise=doors.LEVEL, size=(64, 48)), now, ros(now))
    slot.on_scan(beams(1000 + now, doors.BEAM_M), now, ros(now))
    slot.on_joints(joints(1000 + now, **doors.JOINTS), now, ros(now))
    slot.on_odom(odometry(1000 + now, 0.2, 0.0), now, ros(now))


def answer(slot: Slot) -> np.ndarray:
    """The actions of the slot for the scene, before it clamps them."""
    slot.on_command(command(doors.WORDS), NOW)
    show_the_scene(slot)
    assert slot.infer(NOW, ros(NOW)), slot.inputs(NOW, ros(NOW))
    steps = slot.action(NOW, ros(NOW)).steps
    assert steps is not None
    return steps


def wanted(interface: Interface, slot: Slot) -> float:
    means = dict(interface.expect)
    if any(math.isnan(value) for value in means.values()):
        shape = tuple(interface.observation["noise"]["shape"])
        means["noise"] = float(noise(slot.seed, ros(NOW), shape).mean())
    return weighed(interface, means)


@pytest.mark.parametrize("interface", INTERFACES, ids=[each.name for each in INTERFACES])
def test_an_interface_drives_as_it_says_or_is_refused_before_it_is_packed(
    interface: Interface, robot: Path, tmp_path: Path
) -> None:
    model = make_interface(tmp_path / "model", interface)
    said = through_the_door(model, robot)
    if interface.refused is not None:
        assert said is not None and interface.refused in said and "\n" not in said
        return
    assert said is None
    slot = started(unpacked(packing.prepare(model), tmp_path / "packed"), robot, tmp_path / "robot")
    actions = answer(slot)
    assert np.allclose(actions, wanted(interface, slot), rtol=2e-3, atol=1e-6), interface.name


def test_seventeen_interfaces_are_other_peoples_and_ten_are_our_own() -> None:
    assert (len(FOREIGN), len(INTERFACES)) == (17, 27)
    assert len({each.name for each in INTERFACES}) == 27


KINDS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, float]]] = {
    "camera": ({"cameras": doors.FRONT}, {"image": "cameras.front"}, {"image": doors.level()}),
    "lidar": ({"lidar": doors.SCAN}, {"scan": "lidar"}, {"scan": doors.BEAM_M / 4.0}),
    "state": ({"state": {"parts": doors.PAN_TILT}}, {"state": "state"}, {"state": sum(doors.JOINTS.values()) / 2}),
    "text": ({"text": doors.TEXT}, {"tokens": "text"}, {"tokens": doors.words()}),
    "noise": ({"noise": {"shape": [1, 8, 2]}}, {"noise": "noise"}, {"noise": doors.NOISE}),
    "prefix": ({"prefix": 8}, {"prefix": "prefix"}, {"prefix": 0.0}),
    "delay": ({"delay": True}, {"delay": "delay"}, {"delay": 0.0}),
}


def combined() -> Iterator[Interface]:
    """Every combination of observations."""
    for size in range(1, len(KINDS) + 1):
        for names in combinations(KINDS, size):
            observation: dict[str, Any] = {}
            inputs: dict[str, str] = {}
            expect: dict[str, float] = {}
            for name in names:
                observation |= KINDS[name][0]
                inputs |= KINDS[name][1]
                expect |= KINDS[name][2]
            blind = not {"camera", "lidar", "state"} & set(names)
            yield Interface("+".join(names), observation, inputs, expect, refused="acts blindly" if blind else None)


def test_what_is_proved_is_what_a_slot_runs_for_every_combination_of_observations(robot: Path, tmp_path: Path) -> None:
    """A model that passes its gate and then fails to load, or to infer, is a fault of ours: all of them are tried.

    The gate and the slot make their answers from the same graphs as they were packed, to try them in seconds.
    """
    from dataclasses import replace

    from model_registry.core.contract import Contract
    from stack.engine.goldens import read_goldens
    from stack.engine.packed import packed
    from stack.policy.inference import TimedInference
    from stack.policy.profile import PROFILES
    from stack.policy.sensing import SourceWiring

    tried = 0
    for number, interface in enumerate(combined()):
        model = make_interface(tmp_path / str(number), interface)
        said = through_the_door(model, robot)
        assert (said is None) == (interface.refused is None), (interface.name, said)
        if said is not None:
            continue
        contract = Contract.load(model)
        inference = packed(model, contract)
        [golden] = read_goldens(model, contract, "fp32")
        assert np.allclose(inference(golden.seen).actions, golden.action, atol=1e-5)
        timed = TimedInference(model, contract, inference.graphs)
        wiring = SourceWiring.of(contract, Robot.load(robot))
        profile = replace(PROFILES["resource_optimized"], max_cycle_s=5.0)
        slot = Slot(contract, replace(profile, limits={}), timed, wiring=wiring, seed=5)
        timed.warm_up()
        assert np.allclose(answer(slot), wanted(interface, slot), rtol=2e-3, atol=1e-6), interface.name
        tried += 1
    assert tried == 2**7 - 2**4
