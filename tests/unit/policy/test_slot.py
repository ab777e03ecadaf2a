"""A slot without ROS: which inputs give actions, and which give nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.release import Release, payload
from stack.engine.backends.null import Null
from stack.policy.inference import Inference
from stack.policy.load import Found
from stack.policy.profile import PROFILES, resource_status
from stack.policy.slot import Slot
from stack.policy.status import Status
from tests.fakes.cdr import Writer
from tests.fakes.robot import release_fields
from tests.fakes.schemas import check
from tests.fakes.tiny import MEAN, STEPS, make_tiny_model

SECOND = 1_000_000_000


class Constant(Null):
    """A backend that always gives `value`."""

    value = 0.0

    def infer(self, inputs: object) -> NDArray[np.float32]:
        return np.full((1, STEPS, 2), self.value, np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


@pytest.fixture
def backend() -> Constant:
    return Constant()


@pytest.fixture
def slot(model: Path, backend: Constant) -> Slot:
    contract = Contract.load(model)
    return Slot(contract, PROFILES["resource_optimized"], Inference(model, contract, backend))


def frame(stamp_s: float, encoding: str = "rgb8") -> bytes:
    writer = Writer().put("iI", int(stamp_s), int(stamp_s % 1 * 1e9)).text("camera").put("II", 24, 32).text(encoding)
    writer.put("B", 0).put("I", 96).put("I", 96 * 24)
    writer.body += bytes(96 * 24)
    return writer.bytes()


def beams(stamp_s: float) -> bytes:
    writer = Writer().put("iI", int(stamp_s), int(stamp_s % 1 * 1e9)).text("laser")
    writer.put("fffffff", -3.14, 3.14, 0.0175, 0.0, 0.0, 0.05, 12.0).put("I", 360).put("f" * 360, *[2.0] * 360)
    return writer.put("I", 0).bytes()


def command(text: str, remaining_s: float | None = None) -> str:
    return json.dumps({"text": text, "seq": 1, "remaining_s": remaining_s})


def feed(slot: Slot, now: float) -> None:
    """Camera and scan that arrive at `now`; ROS time is 1000 s ahead."""
    slot.on_camera(frame(1000 + now), now)
    slot.on_scan(beams(1000 + now), now)


def ros(now: float) -> int:
    return int((1000 + now) * SECOND)


def drive(slot: Slot, now: float = 10.0) -> None:
    slot.on_command(command("go to the red pillar"), now)
    feed(slot, now)
    assert slot.infer(now, ros(now))


def test_inputs_and_a_command_give_an_action(slot: Slot) -> None:
    drive(slot)
    action = slot.action(10.0, ros(10.0))
    assert action.void_reason is None and action.steps is not None
    assert action.steps.shape == (slot.chunks._steps, 2)
    assert action.steps[0].tolist() == pytest.approx(MEAN)
    assert action.stamp_ns == ros(10.0)


def test_one_frame_is_inferred_once(slot: Slot) -> None:
    drive(slot)
    assert not slot.infer(10.01, ros(10.01))
    feed(slot, 10.05)
    assert slot.infer(10.05, ros(10.05))


def test_a_new_command_is_inferred_on_the_frame_that_is_there(slot: Slot) -> None:
    drive(slot)
    slot.on_command(command("turn left"), 10.01)
    assert slot.action(10.02, ros(10.02)).steps is not None
    assert slot.infer(10.02, ros(10.02))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no_command"), ("stop", "command_without_motion"), ("xyzzy", "command_without_motion")],
)
def test_a_command_without_motion_ends_the_action_at_once(slot: Slot, text: str, reason: str) -> None:
    drive(slot)
    slot.on_command(command(text), 10.01)
    assert slot.action(10.01, ros(10.01)).void_reason == reason
    slot.on_command(command("go to the red pillar"), 10.02)
    assert slot.action(10.02, ros(10.02)).void_reason == "no_chunk"


def test_a_message_that_cannot_be_read_is_no_command(slot: Slot) -> None:
    drive(slot)
    slot.on_command("{", 10.01)
    assert slot.action(10.01, ros(10.01)).void_reason == "no_command"
    assert slot.command.rejected == 1


def test_a_command_ends_with_its_life(slot: Slot) -> None:
    slot.on_command(command("turn left", 0.1), 10.0)
    feed(slot, 10.0)
    assert slot.infer(10.0, ros(10.0))
    assert slot.action(10.05, ros(10.05)).void_reason is None
    assert slot.action(10.11, ros(10.11)).void_reason == "command_expired"


@pytest.mark.parametrize(
    ("source", "after_s", "reason"),
    [("camera", 0.31, "camera_stale"), ("scan", 0.51, "scan_stale")],
)
def test_a_stale_input_gives_a_void_action(slot: Slot, source: str, after_s: float, reason: str) -> None:
    drive(slot)
    now = 10.0 + after_s
    if source == "camera":
        slot.on_scan(beams(1000 + now), now)
    else:
        slot.on_camera(frame(1000 + now), now)
    assert not slot.infer(now, ros(now))
    assert slot.action(now, ros(now)).void_reason == reason


def test_a_clock_that_jumps_an_hour_gives_void_actions(slot: Slot) -> None:
    drive(slot)
    assert slot.action(10.01, ros(10.0) + 3600 * SECOND).void_reason == "camera_stale_stamp"
    assert slot.action(10.01, ros(10.0) - 3600 * SECOND).void_reason == "camera_future_stamp"


def test_a_frame_that_cannot_be_decoded_is_counted_and_named(slot: Slot) -> None:
    slot.on_camera(frame(1010.0, "yuv422"), 10.0)
    slot.on_camera(b"\0\1\0\0abc", 10.0)
    assert slot.camera.rejected == 2
    slot.on_camera(frame(1010.0, "bayer"), 10.0)
    assert "bayer" in str(slot.camera.to_dict(10.0)["error"])
    assert slot.camera.get() is None


def test_numbers_that_are_not_finite_are_counted_and_never_published(slot: Slot, backend: Constant) -> None:
    drive(slot)
    backend.value = float("nan")
    feed(slot, 10.06)
    assert slot.infer(10.06, ros(10.06))
    assert slot.action(10.06, ros(10.06)).void_reason == "no_chunk"
    assert slot.chunks.non_finite == 1


def test_a_wild_network_is_clamped_to_1(slot: Slot, backend: Constant) -> None:
    backend.value = 1000.0
    drive(slot)
    action = slot.action(10.0, ros(10.0))
    assert action.steps is not None and action.steps.max() == 1.0
    assert slot.chunks.clamped == 1


def test_the_status_follows_its_schema_before_and_after_loading(slot: Slot, tmp_path: Path) -> None:
    fields = release_fields(Digest.of(b"model"))
    found = Found(tmp_path, Release.parse(payload(fields)), None)
    status = Status(tmp_path / "run" / "status.json", "a", 7, found)
    check(status.to_dict(1.0), "slot-status")
    drive(slot)
    status.running = slot
    status.error = "x" * 10_000
    check(status.to_dict(10.0), "slot-status")
    status.write()
    check(json.loads(status.path.read_bytes()), "slot-status")
    assert [path.name for path in status.path.parent.iterdir()] == ["status.json"]


def test_the_profile_keeps_the_keys_of_the_seed() -> None:
    body = resource_status(12.0, 34.0, 3, 1, {"linear_x": 0.1, "angular_z": 0.2}, 5.0)
    assert body == {
        "timestamp": 5.0,
        "cpu_usage": 12.0,
        "memory_usage": 34.0,
        "gpu_memory_usage": 0.0,
        "cache_stats": {"hits": 3, "misses": 1, "hit_rate": 0.75},
        "action": {"linear_x": 0.1, "angular_z": 0.2},
    }
