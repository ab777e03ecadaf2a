"""A slot without ROS: which inputs give actions, and which give nothing."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.digest import Digest
from model_registry.core.release import Release, payload
from stack.policy.ladder import SLOW, SMALL
from stack.policy.load import Found
from stack.policy.profile import PROFILES
from stack.policy.slot import Slot
from stack.policy.status import SlotStatusFile
from tests.fakes.observations import (
    SECOND,
    Constant,
    beams,
    command,
    drive,
    feed,
    frame,
    make_slot,
    ros,
    without_stamps,
)
from tests.fakes.robot import release_fields
from tests.fakes.schemas import check
from tests.fakes.tiny import MEAN, make_tiny_model


@pytest.fixture
def backend() -> Constant:
    return Constant()


@pytest.fixture
def slot(tmp_path: Path, backend: Constant) -> Slot:
    return make_slot(make_tiny_model(tmp_path / "model"), backend)


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
    [("camera", 0.31, "camera_front_stale"), ("scan", 0.51, "scan_stale")],
)
def test_a_stale_input_gives_a_void_action(slot: Slot, source: str, after_s: float, reason: str) -> None:
    drive(slot)
    now = 10.0 + after_s
    if source == "camera":
        slot.on_scan(beams(1000 + now), now, ros(now))
    else:
        slot.on_camera("front", frame(1000 + now), now, ros(now))
    assert not slot.infer(now, ros(now))
    assert slot.action(now, ros(now)).void_reason == reason


def test_a_clock_that_jumps_an_hour_gives_void_actions(slot: Slot) -> None:
    drive(slot)
    assert slot.action(10.01, ros(10.0) + 3600 * SECOND).void_reason == "camera_front_stale_stamp"
    assert slot.action(10.01, ros(10.0) - 3600 * SECOND).void_reason == "camera_front_future_stamp"


def test_a_frame_that_cannot_be_decoded_is_counted_and_named(slot: Slot) -> None:
    slot.on_camera("front", frame(1010.0, "yuv422"), 10.0, ros(10.0))
    slot.on_camera("front", b"\0\1\0\0abc", 10.0, ros(10.0))
    assert slot.sources.cameras["front"].rejected == 2
    slot.on_camera("front", frame(1010.0, "bayer"), 10.0, ros(10.0))
    assert "bayer" in str(slot.sources.cameras["front"].error)
    assert slot.sources.cameras["front"].get() is None


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


@pytest.mark.parametrize(("stamps", "reason"), [(True, "scan_stale_stamp"), (False, None)])
def test_a_laser_without_usable_stamps_is_as_old_as_its_arrival_says(
    tmp_path: Path, stamps: bool, reason: str | None
) -> None:
    folder = make_tiny_model(tmp_path / "model")
    slot = make_slot(folder, Constant(), wiring=None if stamps else without_stamps(folder, "scan"))
    now, ros_ns = time.monotonic(), time.time_ns()
    slot.on_command(command("go to the red pillar"), now)
    slot.on_camera("front", frame(ros_ns / 1e9), now, ros_ns)
    slot.on_scan(beams(0.0), now, ros_ns)
    assert slot.infer(now, ros_ns) is (reason is None)
    action = slot.action(now, ros_ns)
    assert action.void_reason == reason
    assert reason or abs(action.stamp_ns - ros_ns) < 1_000_000_000, (
        "the supervisor looks at how old the action's inputs are"
    )


@pytest.mark.parametrize("stamp_s", [0.0, 4213.0, 1_000_009.0, 1_000_010.08])
@pytest.mark.parametrize("stamps", [True, False])
def test_a_camera_without_usable_stamps_is_as_old_as_its_arrival_says(
    tmp_path: Path, stamps: bool, stamp_s: float
) -> None:
    """Zero, a clock of its own, a second old, 80 ms ahead: without stamps it drives by the arrival of its frames."""
    folder = make_tiny_model(tmp_path / "model")
    slot = make_slot(folder, Constant(), wiring=None if stamps else without_stamps(folder, "camera_front"))
    now, ros_ns = 10.0, 1_000_010 * SECOND
    slot.on_command(command("go to the red pillar"), now)
    slot.on_scan(beams(1_000_009.9), now, ros_ns)
    slot.on_camera("front", frame(stamp_s), now, ros_ns)

    assert slot.infer(now + 0.01, ros_ns + SECOND // 100) is not stamps
    action = slot.action(now + 0.04, ros_ns + SECOND // 25)

    reason = "camera_front_future_stamp" if stamp_s > 1_000_010 else "camera_front_stale_stamp"
    assert action.void_reason == (reason if stamps else None)
    assert stamps or action.stamp_ns == pytest.approx(1_000_009.9 * SECOND, abs=1000), "the scan is the older one"
    assert slot.action(now + 0.4, ros_ns + SECOND * 2 // 5).void_reason == "camera_front_stale"


def test_a_camera_without_usable_stamps_names_its_arrival_in_the_action(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    slot = make_slot(folder, Constant(), wiring=without_stamps(folder, "camera_front"))
    slot.on_command(command("go to the red pillar"), 10.0)
    slot.on_camera("front", frame(0.0), 10.0, ros(10.0))
    slot.on_scan(beams(1010.02), 10.02, ros(10.02))
    assert slot.infer(10.03, ros(10.03))
    assert slot.action(10.05, ros(10.05)).stamp_ns == ros(10.0)


def test_every_cycle_since_the_warm_up_is_counted_by_what_it_took_beside_the_backend(slot: Slot) -> None:
    slot.inference.warm_up()
    drive(slot)
    assert sum(count for _, count in slot.inference.overhead_counts.pairs() if count) == slot.inferences == 1


def test_the_status_follows_its_schema_before_and_after_loading(slot: Slot, tmp_path: Path) -> None:
    fields = release_fields(Digest.of(b"model"))
    found = Found(tmp_path, Release.parse(payload(fields)), None)
    status = SlotStatusFile(tmp_path / "run" / "status.json", "a", 7, found)
    check(status.to_dict(1.0, ros(1.0)), "slot-status")
    drive(slot)
    status.running = slot
    status.error = "x" * 10_000
    check(status.to_dict(10.0, ros(10.0)), "slot-status")
    status.write(ros(10.0))
    check(json.loads(status.path.read_bytes()), "slot-status")
    assert [path.name for path in status.path.parent.iterdir()] == ["status.json"]


def test_the_same_pixels_under_new_stamps_void_the_action(slot: Slot) -> None:
    for number in range(PROFILES["resource_optimized"].frozen_frames + 2):
        now = 10.0 + number / 15
        slot.on_command(command("turn left"), now)
        slot.on_scan(beams(1000 + now), now, ros(now))
        slot.on_camera("front", frame(1000 + now, noise=0), now, ros(now))
    assert slot.action(now, ros(now)).void_reason == "camera_front_frozen"
    slot.on_camera("front", frame(1000 + now), now, ros(now))
    assert slot.action(now, ros(now)).void_reason == "no_chunk"


def test_a_scan_without_a_valid_beam_voids_the_action(slot: Slot) -> None:
    drive(slot)
    slot.on_scan(beams(1010, math.nan), 10.0, ros(10.0))
    assert slot.action(10.0, ros(10.0)).void_reason == "scan_blind"


def test_ticks_without_an_action_are_counted_once_a_chunk_was_there(slot: Slot) -> None:
    slot.on_command(command("turn left"), 10.0)
    feed(slot, 10.0)
    assert slot.action(10.0, ros(10.0)).void_reason == "no_chunk" and slot.ticks.empty == 0
    assert slot.infer(10.0, ros(10.0))
    feed(slot, 10.5)
    assert slot.action(10.5, ros(10.5)).void_reason == "no_chunk" and slot.ticks.empty == 1


def test_a_profile_infers_at_its_rate_and_not_faster(tmp_path: Path, backend: Constant) -> None:
    slot = make_slot(make_tiny_model(tmp_path / "other"), backend, "optimized")
    slot.on_command(command("turn left"), 10.0)
    made = []
    for number in range(60):  # frames at 30 Hz for 2 s
        now = 10.0 + number / 30
        feed(slot, now)
        made.append(slot.infer(now, ros(now)))
    assert sum(made) == 20


def test_half_the_rate_is_a_rung_only_where_the_model_that_runs_on_it_leaves_no_hole(tmp_path: Path) -> None:
    """On the rung of the small model its own quick cycles say nothing of the large one's."""
    folder = make_tiny_model(tmp_path / "model")
    slot = make_slot(folder, Constant(), small=make_tiny_model(tmp_path / "small"))
    assert slot.pace.small is not None
    slot.sources.cameras["front"].interval_s, slot.pace.rung = 0.02, SMALL
    for _ in range(20):
        slot.pace.full.note(0.2)
        slot.pace.small.note(0.001)
    assert slot.pace.lasts(SMALL) and not slot.pace.lasts(SLOW)
    for _ in range(200):
        slot.pace.full.note(0.02)
    assert slot.pace.lasts(SLOW)


def test_one_long_cycle_does_not_lengthen_the_pause_at_half_the_rate(slot: Slot) -> None:
    slot.sources.cameras["front"].interval_s = 0.05
    for seconds in (*[0.02] * 20, 0.6):
        slot.pace.full.note(seconds)
    assert slot.pace.period_s(SLOW) == pytest.approx(0.1)


def test_a_cycle_that_took_too_long_is_not_acted_on(tmp_path: Path, backend: Constant) -> None:
    slot = make_slot(make_tiny_model(tmp_path / "other"), backend, max_cycle_s=0.001)
    backend.seconds = 0.005
    drive(slot)
    assert slot.slow == 1
    assert slot.action(10.0, ros(10.0)).void_reason == "no_chunk"


def test_the_network_sees_the_steps_still_to_come_and_how_many_will_be_gone(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "rtc")
    document = json.loads((folder / "vla.json").read_bytes())
    document["observation"] |= {"prefix": 4, "delay": True}
    document["graphs"][0]["inputs"] |= {"prefix": "prefix", "delay": "delay"}
    (folder / "vla.json").write_text(json.dumps(document))
    backend = Constant()
    backend.value = 0.5
    slot = make_slot(folder, backend)
    drive(slot)
    assert not backend.seen["prefix"].any() and backend.seen["delay"] == 0
    slot.action(10.0, ros(10.0))
    feed(slot, 10.04)
    slot.action(10.05, ros(10.05))
    assert slot.infer(10.06, ros(10.06))
    assert slot.chunks.delay_steps == 1  # one tick between the frame and its chunk
    feed(slot, 10.08)
    slot.action(10.10, ros(10.10))
    assert slot.infer(10.11, ros(10.11))
    assert backend.seen["prefix"] == pytest.approx(np.full((1, 4, 2), 0.5), abs=1e-6)  # in the network's own units
    assert backend.seen["delay"] == 1


def test_d48_r16_an_advisory_score_is_told_with_its_action_and_guards_nothing(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "safe")
    document = json.loads((folder / "vla.json").read_bytes())
    document["graphs"][0]["outputs"][0]["shape"] = [1, 8, 3]
    document["output"]["advisory"] = {"name": "safety", "column": 2}
    (folder / "vla.json").write_text(json.dumps(document))
    backend = Constant()
    slot = make_slot(folder, backend, "safe_production")
    backend.value = 0.1
    drive(slot)
    assert slot.advisory == pytest.approx(0.1)
    action = slot.action(10.0, ros(10.0))
    assert action.steps is not None and action.advisory == pytest.approx(0.1)
    backend.value = math.nan
    feed(slot, 10.2)
    assert slot.infer(10.2, ros(10.2))
    assert slot.advisory is None
    assert slot.action(10.2, ros(10.2)).advisory is None
