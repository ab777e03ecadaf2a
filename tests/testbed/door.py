"""A model at the door: what its publisher is told, and what a slot makes of the scene of `fakes/doors.py`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from model_registry import packing
from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from stack.engine.noise import noise
from stack.policy.load import find, load
from stack.policy.slot import Slot
from tests.fakes import doors
from tests.fakes.doors import Interface, weighed
from tests.fakes.observations import beams, command, frame, joints, odometry, ros
from tests.fakes.robot import add_model, build_engine, put_in_slot, release_fields, stage
from tests.fakes.settings import robot_toml

CAMERAS = {name: {"topic": f"/{name}/image_raw"} for name in ("front", "side", "top", "left", "right")}
NOW = 10.0


def write_robot(path: Path) -> Path:
    """robot.toml of a base with five cameras, a lidar, odometry and two joints."""
    joints_source = {"joints": {"max_age_ms": 500}}
    slow = {"action_max_age_s": 5.0}
    path.write_text(robot_toml(cameras=CAMERAS, sources=joints_source, safety=slow))
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
