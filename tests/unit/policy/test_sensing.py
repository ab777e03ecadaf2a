"""Slots of models that look at something else than one camera, a scan and words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError
from model_registry.core.plan import StateNumber
from model_registry.core.robot import Robot
from stack.policy.sensing import Listening, SourceWiring
from stack.policy.slot import Slot
from tests.fakes.observations import (
    SECOND,
    Constant,
    beams,
    command,
    frame,
    joints,
    make_slot,
    odometry,
    ros,
    wants,
)
from tests.fakes.settings import robot_toml
from tests.fakes.tiny import make_tiny_model

CAMERA: dict[str, Any] = {"width": 8, "height": 8, "dtype": "uint8"}
LIDAR = {"sectors": 90, "max_range_m": 3.0}
TEXT = {"tokenizer": "tokenizer.json", "length": 10}
ARM = {"parts": [{"of": "joint_position", "names": ["elbow", "gripper"], "unit": "rad"}]}
BASE = {"parts": [{"of": "base_velocity", "names": ["linear_x"], "unit": "m/s"}]}


@pytest.fixture
def backend() -> Constant:
    return Constant()


def slot_for(
    tmp_path: Path, backend: Constant, observation: dict[str, Any], wiring: SourceWiring | None = None, **settings: Any
) -> Slot:
    return make_slot(wants(make_tiny_model(tmp_path / "model"), observation), backend, wiring=wiring, **settings)


def drives(slot: Slot, now: float) -> bool:
    """Whether something new could be inferred, and is an action."""
    return slot.infer(now, ros(now)) and slot.action(now, ros(now)).steps is not None


def reason(slot: Slot, now: float) -> str | None:
    return slot.action(now, ros(now)).void_reason


def see(slot: Slot, name: str, now: float, level: int | None = None) -> None:
    slot.on_camera(name, frame(1000 + now, noise=level), now, ros(now))


def test_two_cameras_are_two_sources_and_both_are_needed(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA, "wrist": CAMERA}})
    assert slot.sources.needed == {"camera_front", "camera_wrist"}
    see(slot, "front", 10.0, 7)
    assert reason(slot, 10.0) == "camera_wrist_missing"
    see(slot, "wrist", 10.0, 9)
    assert drives(slot, 10.0)
    assert (backend.seen["cameras.front"] == 7).all() and (backend.seen["cameras.wrist"] == 9).all()


def test_the_first_camera_starts_inferences_and_the_other_one_does_not(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"wrist": CAMERA, "front": CAMERA}})
    see(slot, "front", 10.0)
    see(slot, "wrist", 10.0)
    assert drives(slot, 10.0)
    see(slot, "front", 10.05)
    assert not slot.infer(10.05, ros(10.05))
    see(slot, "wrist", 10.06)
    assert drives(slot, 10.06)


def test_one_camera_of_the_robot_may_be_two_of_the_model(tmp_path: Path, backend: Constant) -> None:
    wiring = SourceWiring({"front": "front", "top": "front"})
    small = {**CAMERA, "width": 4}
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA, "top": small}}, wiring)
    assert set(slot.sources.cameras) == {"front"}
    for now, level in ((10.0, 5), (10.1, 6)):
        see(slot, "front", now, level)
        assert drives(slot, now)
        assert (backend.seen["cameras.front"] == level).all() and (backend.seen["cameras.top"] == level).all()
    assert backend.seen["cameras.top"].shape == (1, 3, 8, 4)


def test_what_is_wrong_with_one_camera_is_told_of_that_one(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA, "wrist": CAMERA}}, frozen_frames=3)
    for number in range(6):
        now = 10.0 + number / 15
        see(slot, "front", now)
        see(slot, "wrist", now, 7)
    told: Any = slot.inputs(now, ros(now))
    assert reason(slot, now) == "camera_wrist_frozen"
    assert (told["camera_front"]["fault"], told["camera_wrist"]["fault"]) == (None, "frozen")
    see(slot, "wrist", now + 0.31, 8)
    assert reason(slot, now + 0.31) == "camera_front_stale"
    slot.on_camera("wrist", frame(1000 + now, "yuv422"), now + 0.4, ros(now + 0.4))
    assert slot.sources.cameras["wrist"].rejected == 1 and slot.sources.cameras["front"].rejected == 0


def test_each_camera_has_the_age_and_the_stamps_that_the_robot_gives_it(tmp_path: Path, backend: Constant) -> None:
    settings = {"camera_front": Listening(max_age_s=0.1), "camera_wrist": Listening(stamps=False)}
    wiring = SourceWiring({"front": "front", "wrist": "wrist"}, settings=settings)
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA, "wrist": CAMERA}}, wiring)
    see(slot, "front", 10.0)
    slot.on_camera("wrist", frame(0.0), 10.0, ros(10.0))
    assert drives(slot, 10.05)
    assert reason(slot, 10.11) == "camera_front_stale"
    see(slot, "front", 10.25)
    assert reason(slot, 10.29) in (None, "no_chunk")
    assert reason(slot, 10.31) == "camera_wrist_stale"


def test_no_robot_lets_a_camera_be_older_than_the_profile_does(tmp_path: Path, backend: Constant) -> None:
    wiring = SourceWiring({"front": "front"}, settings={"camera_front": Listening(max_age_s=5.0)})
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA}}, wiring)
    assert slot.sources.cameras["front"].max_age_s == 0.3


def test_without_a_camera_the_scan_starts_inferences(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"lidar": LIDAR, "text": TEXT})
    assert slot.sources.needed == {"scan"} and not slot.sources.cameras
    slot.on_command(command("turn left"), 10.0)
    assert reason(slot, 10.0) == "scan_missing"
    for now in (10.0, 10.1):
        slot.on_scan(beams(1000 + now), now, ros(now))
        assert drives(slot, now) and not slot.infer(now, ros(now))
    assert set(backend.seen) == {"lidar", "text"}


def test_without_camera_and_scan_the_joints_start_inferences(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"state": ARM})
    assert reason(slot, 10.0) == "joints_missing"
    for now, elbow in ((10.0, 0.5), (10.1, 0.6)):
        slot.on_joints(joints(1000 + now, gripper=0.1, elbow=elbow), now, ros(now))
        assert drives(slot, now)
        assert backend.seen["state"].tolist() == [pytest.approx([elbow, 0.1])]
        assert slot.action(now, ros(now)).stamp_ns == pytest.approx(ros(now), abs=1000)
    assert reason(slot, 10.61) == "joints_stale"


def test_a_joint_that_is_never_named_is_told_and_nothing_is_made_up(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"state": ARM})
    slot.on_joints(joints(1010.0, elbow=0.5), 10.0, ros(10.0))
    assert not slot.infer(10.0, ros(10.0)) and reason(slot, 10.0) == "joints_unreadable"
    told: Any = slot.inputs(10.0, ros(10.0))["joints"]
    assert told["error"] == "no position of gripper among elbow; let what publishes them name it"
    slot.on_joints(joints(1010.1, gripper=0.2), 10.1, ros(10.1))
    assert drives(slot, 10.1)


def test_joints_without_usable_stamps_are_as_old_as_their_arrival_says(tmp_path: Path, backend: Constant) -> None:
    numbers = (StateNumber("position", "elbow"), StateNumber("position", "gripper"))
    wiring = SourceWiring({}, numbers, {"joints": Listening(stamps=False, max_age_s=0.05)})
    slot = slot_for(tmp_path, backend, {"state": ARM}, wiring)
    slot.on_joints(joints(0.0, elbow=0.5, gripper=0.1), 10.0, ros(10.0))
    assert drives(slot, 10.0)
    assert reason(slot, 10.06) == "joints_stale"


def test_odometry_that_cannot_be_read_is_told(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"state": BASE})
    slot.on_odom(odometry(1010.0, math.nan, 0.0), 10.0, ros(10.0))
    assert reason(slot, 10.0) == "odom_unreadable"
    slot.on_odom(odometry(1010.0, 0.3, 0.1), 10.0, ros(10.0))
    assert drives(slot, 10.0) and backend.seen["state"].tolist() == [pytest.approx([0.3])]
    assert reason(slot, 10.51) == "odom_stale"


def test_the_oldest_of_all_sources_stamps_the_action(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA}, "lidar": LIDAR, "state": ARM})
    slot.on_joints(joints(1009.8, elbow=0.5, gripper=0.1), 10.0, ros(10.0))
    slot.on_scan(beams(1009.9), 10.0, ros(10.0))
    see(slot, "front", 10.0)
    assert drives(slot, 10.0)
    assert slot.action(10.0, ros(10.0)).stamp_ns == pytest.approx(int(1009.8 * SECOND), abs=1000)


def test_a_scan_that_the_model_does_not_want_keeps_nothing_from_driving(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA}, "text": TEXT})
    slot.on_command(command("turn left"), 10.0)
    slot.on_scan(beams(1010.0, math.nan), 10.0, ros(10.0))
    see(slot, "front", 10.0)
    assert drives(slot, 10.0)
    told: Any = slot.inputs(10.0, ros(10.0))
    assert (told["scan"]["needed"], told["scan"]["fault"]) == (False, None)
    assert told["camera_front"]["needed"]


def test_a_policy_without_words_drives_until_a_stop_word_and_goes_on_at_another(
    tmp_path: Path, backend: Constant
) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA}})
    see(slot, "front", 10.0)
    assert drives(slot, 10.0)
    slot.on_command(command("please stop"), 10.01)
    assert reason(slot, 10.01) == "command_without_motion"
    assert not slot.infer(10.02, ros(10.02))
    slot.on_command(command("go on"), 10.03)
    assert reason(slot, 10.03) == "no_chunk", "what was planned before the stop is not carried out after it"
    assert drives(slot, 10.04)
    told: Any = slot.inputs(10.04, ros(10.04))["command"]
    assert (told["fault"], told["needed"]) == (None, False)


@pytest.mark.parametrize("text", ["{", command(""), command(" ")])
def test_a_command_that_ended_or_cannot_be_read_halts_a_policy_without_words(
    tmp_path: Path, backend: Constant, text: str
) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA}})
    see(slot, "front", 10.0)
    assert drives(slot, 10.0)
    slot.on_command(text, 10.01)
    assert reason(slot, 10.01) == "no_command"


def test_a_command_with_a_life_ends_also_for_a_policy_without_words(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"cameras": {"front": CAMERA}})
    slot.on_command(command("go", 0.1), 10.0)
    see(slot, "front", 10.0)
    assert drives(slot, 10.0)
    assert reason(slot, 10.11) == "command_expired"


@pytest.mark.parametrize(("stack", "shape"), [("axis", (1, 3, 3, 8, 8)), ("channels", (1, 9, 8, 8))])
def test_past_frames_are_stacked_oldest_first(
    tmp_path: Path, backend: Constant, stack: str, shape: tuple[int, ...]
) -> None:
    camera = {**CAMERA, "frames": [-2, -1, 0], "every_s": 0.1, "stack": stack}
    slot = slot_for(tmp_path, backend, {"cameras": {"front": camera}})
    for number in range(4):
        see(slot, "front", 10.0 + number / 10, 10 * number)
        assert drives(slot, 10.0 + number / 10)
        if number == 0:
            assert not backend.seen["cameras.front"].any(), "before there is a past, the first frame is it"
    seen = backend.seen["cameras.front"]
    assert seen.shape == shape
    assert seen.reshape(3, -1)[:, 0].tolist() == [10, 20, 30]


def test_past_states_are_stacked_oldest_first(tmp_path: Path, backend: Constant) -> None:
    slot = slot_for(tmp_path, backend, {"state": {**BASE, "frames": [-1, 0], "every_s": 0.1}})
    for number in range(3):
        now = 10.0 + number / 10
        slot.on_odom(odometry(1000 + now, number / 10, 0.0), now, ros(now))
        assert drives(slot, now)
    assert backend.seen["state"] == pytest.approx(np.array([[[0.1], [0.2]]]))


def test_who_looks_as_soon_as_a_source_has_spoken_finds_its_past(tmp_path: Path, backend: Constant) -> None:
    """Inference is another thread: it may look between any two statements of the one that receives."""
    camera = {**CAMERA, "frames": [-1, 0], "every_s": 0.1}
    slot = slot_for(tmp_path, backend, {"cameras": {"front": camera}, "state": BASE})
    found = []
    for source in (slot.sources.cameras["front"], slot.sources.odom):
        put = source.put

        def look(*values: Any, put: Any = put, **named: Any) -> None:
            put(*values, **named)
            if slot.sources.fault(10.0, ros(10.0)) is None:
                found.append(slot.sources.observe(slot.inference, "", np.zeros((0, 2), np.float32), 0, 0)[0])

        source.put = look
    see(slot, "front", 10.0)
    slot.on_odom(odometry(1010.0, 0.3, 0.0), 10.0, ros(10.0))
    see(slot, "front", 10.0)
    assert len(found) == 2 and all(len(seen.frames["front"]) == 2 for seen in found)


def test_the_state_waits_for_joints_and_odometry(tmp_path: Path, backend: Constant) -> None:
    parts = {"parts": [*BASE["parts"], *ARM["parts"]]}
    slot = slot_for(tmp_path, backend, {"state": parts})
    assert slot.sources.needed == {"joints", "odom"}
    slot.on_odom(odometry(1010.0, 0.3, 0.0), 10.0, ros(10.0))
    assert reason(slot, 10.0) == "joints_missing"
    slot.on_joints(joints(1010.0, elbow=0.5, gripper=0.1), 10.0, ros(10.0))
    assert drives(slot, 10.0)
    assert backend.seen["state"].tolist() == [pytest.approx([0.3, 0.5, 0.1])]


ROBOT = robot_toml(
    cameras={
        "head": {"topic": "/head", "max_age_ms": 150},
        "wrist": {"topic": "/wrist", "stamps": False},
        "alias": {"front": "head"},
    },
    joints={"elbow": {"unit": "deg", "scale": 57.29578, "offset": 90.0, "sign": -1}},
    sources={"joints": {"max_age_ms": 50}, "scan": {"present": True, "max_age_ms": 500, "stamps": False}},
)


def robot(tmp_path: Path, text: str = ROBOT) -> Robot:
    (tmp_path / "robot.toml").write_text(text)
    return Robot.load(tmp_path / "robot.toml")


def test_sources_are_wired_as_the_robot_says(tmp_path: Path) -> None:
    arm = {"parts": [{"of": "joint_position", "names": ["elbow"], "unit": "deg"}]}
    model = wants(make_tiny_model(tmp_path / "model"), {"cameras": {"front": CAMERA, "wrist": CAMERA}, "state": arm})
    wiring = SourceWiring.of(Contract.load(model), robot(tmp_path))
    assert wiring.cameras == {"front": "head", "wrist": "wrist"}
    [elbow] = wiring.state
    assert (elbow.source, elbow.field, elbow.name) == ("joints", "position", "elbow")
    assert (elbow.factor, elbow.offset) == (-57.29578, 90.0)
    assert wiring.settings == {
        "camera_head": Listening(True, 0.15),
        "camera_wrist": Listening(False, None),
        "scan": Listening(False),
        "odom": Listening(True),
        "joints": Listening(True, 0.05),
    }


def test_a_model_that_does_not_fit_is_refused_with_every_reason(tmp_path: Path) -> None:
    model = wants(make_tiny_model(tmp_path / "model"), {"cameras": {"tail": CAMERA, "hand": CAMERA}})
    with pytest.raises(IncompatibleError, match=r"does not fit robot-1: .*'tail'.*; .*'hand'"):
        SourceWiring.of(Contract.load(model), robot(tmp_path))
