"""A frame that inference waits for is prepared by the thread that received it; every other one stays as it was sent."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stack.engine.backends.null import Null
from stack.policy.ladder import SMALL
from stack.policy.slot import Shown, Slot
from tests.fakes.observations import Constant, beams, command, drive, feed, frame, make_slot, ros
from tests.fakes.tiny import STEPS, make_tiny_model


class Interrupted(Constant):
    """A backend during whose work a frame arrives."""

    slot: Slot | None = None

    def infer(self, inputs: Mapping[str, Any]) -> Any:
        if self.slot is not None:
            self.slot.on_camera("front", frame(1010.05), 10.05, ros(10.05))
        return super().infer(inputs)


def shown(slot: Slot) -> Shown:
    newest = slot.sources.cameras["front"].get()
    assert newest is not None
    return newest.value


@pytest.fixture
def backend() -> Interrupted:
    return Interrupted()


@pytest.fixture
def slot(tmp_path: Path, backend: Interrupted) -> Slot:
    return make_slot(make_tiny_model(tmp_path / "model"), backend)


def test_what_was_prepared_is_what_inference_would_have_made(slot: Slot, backend: Interrupted) -> None:
    drive(slot)
    seen = shown(slot)
    assert backend.given["image"] is seen.tensors["front"]
    prepared = seen.tensors["front"].copy()
    assert np.array_equal(prepared, slot.inference.image("front", seen.frame))


def test_a_frame_that_arrives_during_inference_stays_whole_and_is_used_next(slot: Slot, backend: Interrupted) -> None:
    backend.slot = slot
    drive(slot)
    seen = shown(slot)
    assert not seen.tensors
    backend.slot = None
    assert slot.infer(10.06, ros(10.06))
    assert np.array_equal(backend.seen["image"], slot.inference.image("front", seen.frame))


def test_a_frame_that_inference_will_not_look_at_stays_whole(tmp_path: Path) -> None:
    slot = make_slot(make_tiny_model(tmp_path / "model"), Constant(), inference_hz=2.0)
    drive(slot)
    made = []
    for number in range(1, 16):
        feed(slot, 10.0 + number / 30)
        made.append(bool(shown(slot).tensors))
    assert not any(made[:13]) and made[-1]


class Still(Null):
    """Keeps nothing of what it is given."""

    def infer(self, inputs: Mapping[str, Any]) -> Any:
        return {"action": np.zeros((1, STEPS, 2), np.float32)}


def test_from_its_arrival_to_its_actions_a_frame_allocates_nothing_of_its_size(tmp_path: Path) -> None:
    slot = make_slot(make_tiny_model(tmp_path / "model"), Still())
    drive(slot)
    frames = [frame(1010 + number / 10, size=(640, 480)) for number in range(1, 4)]
    peaks = []
    for number, data in enumerate(frames, 1):
        now = 10.0 + number / 10
        slot.on_scan(beams(1000 + now), now, ros(now))
        tracemalloc.start()
        try:
            slot.on_camera("front", data, now, ros(now))
            assert slot.infer(now, ros(now)) and slot.action(now, ros(now)).steps is not None
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[-1] < 112 * 112


def test_a_frame_prepared_for_one_network_is_not_shown_to_another(tmp_path: Path) -> None:
    big, small = make_tiny_model(tmp_path / "model"), Constant()
    slot = make_slot(big, Constant(), small=make_tiny_model(tmp_path / "small"), small_backend=small)
    slot.on_command(command("go to the red pillar"), 10.0)
    feed(slot, 10.0)
    prepared = shown(slot).tensors["front"]
    before = prepared.copy()
    slot.pace.rung = SMALL
    assert slot.infer(10.0, ros(10.0))
    given = small.given["image"]
    assert given is not prepared and np.array_equal(given, before)
