"""Other people's interfaces at our door: each drives as it says, or is refused before it is packed, in one sentence.

`drive`: packed, proved by the gate and answered by a slot with what was computed by hand; `refused_at_pack`: refused by
packing or by the plan of the robot that it is packed for; `wrong`: anything else, such as a model that is proved and
then fails in its slot, or one that is loaded with another meaning.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from model_registry import packing
from tests.bench.harness import FRESH, Trials
from tests.fakes.doors import INTERFACES, Interface, make_interface
from tests.testbed.door import answer, started, through_the_door, unpacked, wanted, write_robot

BENCH = "door"


def outcome(interface: Interface, folder: Path) -> str:
    """drive, refused_at_pack or wrong."""
    robot = write_robot(folder / "robot.toml")
    model = make_interface(folder / "model", interface)
    said = through_the_door(model, robot)
    if said is not None or interface.refused is not None:
        expected = said is not None and interface.refused is not None and interface.refused in said
        return "refused_at_pack" if expected else "wrong"
    try:
        slot = started(unpacked(packing.prepare(model), folder / "packed"), robot, folder / "robot")
        same = np.allclose(answer(slot), wanted(interface, slot), rtol=2e-3, atol=1e-6)
    except Exception as error:  # whatever comes after the gate said healthy is what this bench counts
        print(f"{interface.name}: {type(error).__name__}: {error}", file=sys.stderr)
        return "wrong"
    return "drive" if same else "wrong"


def main() -> int:
    trials = Trials(BENCH, fresh=FRESH)
    found = {"drive": 0, "refused_at_pack": 0, "wrong": 0}
    with trials.noise(), tempfile.TemporaryDirectory() as folder:
        for number, interface in enumerate(INTERFACES):
            place = Path(folder) / str(number)
            place.mkdir()
            said = outcome(interface, place)
            found[said] += 1
            print(f"{interface.name}: {said}", file=sys.stderr, flush=True)
    trials.report({BENCH: {"interfaces": len(INTERFACES), **found}}, {})
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
