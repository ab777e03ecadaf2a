"""Models of other people in the simulator: what they leave out is not asked of them, what it lacks is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_registry.core.errors import IncompatibleError
from stack.models.pilot import Pilot
from stack.sim.scenario import drive
from stack.sim.scene import build
from stack.sim.world import World
from tests.fakes.doors import INTERFACES, Interface, make_interface

NOT_SIMULATED = {"state": "a state", "goal": "a goal image"}


def wants(interface: Interface) -> list[str]:
    """What the simulated robot lacks, in the pilot's words."""
    cameras = interface.observation.get("cameras", {})
    lacks = [word for name, word in NOT_SIMULATED.items() if name in interface.observation]
    lacks += [f"{len(cameras)} cameras"] if len(cameras) > 1 else []
    return lacks + ["past frames"] * any(len(camera.get("frames", [0])) > 1 for camera in cameras.values())


@pytest.mark.parametrize("interface", [each for each in INTERFACES if each.refused is None], ids=lambda each: each.name)
def test_a_model_drives_in_the_simulator_or_is_refused_in_a_sentence(interface: Interface, tmp_path: Path) -> None:
    folder = make_interface(tmp_path / "model", interface)
    lacks = wants(interface)
    if lacks:
        with pytest.raises(IncompatibleError, match=f"this model wants .*{lacks[0]}"):
            Pilot(folder)
        return
    rng = np.random.default_rng(1)

    driven = drive(World(build("random", rng), rng), Pilot(folder), "turn left", 1.0, seed=1)

    assert driven.actions.shape[1] == 2 and np.isfinite(driven.actions).all()


@pytest.mark.parametrize("absent", ["cameras", "lidar", "text"])
def test_some_of_them_leave_out_what_the_simulator_has(absent: str) -> None:
    """So the test above tries a model without a camera, without a laser and without words."""
    driving = [each.observation for each in INTERFACES if each.refused is None and not wants(each)]
    assert [observation for observation in driving if absent not in observation]
