"""A frame that inference waits for is prepared by the thread that received it; every other one stays as it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stack.policy.ladder import SMALL
from stack.policy.slot import Shown, Slot
from tests.fakes.observations import Constant, command, drive, feed, frame, make_slot, ros
from tests.fakes.tiny import make_tiny_model


class Interrupted(Constant):
    """A backend during whose work a frame arrives."""

    slot: Slot | None = None

    def infer(self, inputs: Mapping[str, Any]) -> Any:
        if self.slot is not None:
            self.slot.on_camera(frame(1010.05), 10.05)
        return super().infer(inputs)


def shown(slot: Slot) -> Shown:
    newest = slot.camera.get()
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
    assert seen.tensor is not None and backend.given["image"] is seen.tensor
    prepared = seen.tensor.copy()
    assert np.array_equal(prepared, slot.inference.image(*seen.frame))


def test_a_frame_that_arrives_during_inference_stays_whole_and_is_used_next(slot: Slot, backend: Interrupted) -> None:
    backend.slot = slot
    drive(slot)
    seen = shown(slot)
    assert seen.tensor is None
    backend.slot = None
    assert slot.infer(10.06, ros(10.06))
    assert np.array_equal(backend.seen["image"], slot.inference.image(*seen.frame))


def test_a_frame_that_inference_will_not_look_at_stays_whole(tmp_path: Path) -> None:
    slot = make_slot(make_tiny_model(tmp_path / "model"), Constant(), inference_hz=2.0)
    drive(slot)
    made = []
    for number in range(1, 16):
        feed(slot, 10.0 + number / 30)
        made.append(shown(slot).tensor is not None)
    assert not any(made[:13]) and made[-1]


def test_a_frame_prepared_for_one_network_is_not_shown_to_another(tmp_path: Path) -> None:
    big, backend = make_tiny_model(tmp_path / "model"), Constant()
    slot = make_slot(big, backend, small=make_tiny_model(tmp_path / "small"))
    slot.on_command(command("go to the red pillar"), 10.0)
    feed(slot, 10.0)
    prepared = shown(slot).tensor
    slot.rung = SMALL
    assert slot.infer(10.0, ros(10.0))
    assert prepared is not None and slot._small is not None
    given = slot._small._backend.given["image"]  # type: ignore[attr-defined]
    assert given is not prepared and np.array_equal(given, prepared)
