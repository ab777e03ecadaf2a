"""Anybody's policy gets through the door and is what it says, or is refused before it is packed, in one sentence.

Nothing may pass the gate as healthy and then fail in its slot, and nothing may be loaded with another meaning: the
slot's answer is compared with what was computed by hand for the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry import packing
from model_registry.core.contract import Contract
from model_registry.core.robot import Robot
from stack.engine.goldens import read_goldens
from stack.engine.packed import packed
from stack.policy.inference import TimedInference
from stack.policy.profile import PROFILES
from stack.policy.sensing import SourceWiring
from stack.policy.slot import Slot
from tests.fakes import doors
from tests.fakes.doors import FOREIGN, INTERFACES, Interface, make_interface
from tests.testbed.door import answer, started, through_the_door, unpacked, wanted, write_robot


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    return write_robot(tmp_path / "robot.toml")


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
