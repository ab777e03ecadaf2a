"""The client attacks that python-tuf tests, where they have a counterpart here, and our own, by name, on a real agent.

One robot takes them all: whatever is tried, it refuses in one line, knows what it knew and drives what it drove.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.rig import Rig
from tests.testbed.attacks_agent import ATTACKS, AttackedRobot, refused


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedRobot]:
    folder: Path = tmp_path_factory.mktemp("attacked")
    with Rig(folder) as rig:
        yield AttackedRobot(rig)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_robot_refuses(name: str, attacked: AttackedRobot) -> None:
    assert refused(attacked, ATTACKS[name]) is None


def test_a_signature_with_a_high_s_is_harmless_because_a_release_is_named_by_its_bytes(attacked: AttackedRobot) -> None:
    digest = attacked.publish()
    path = attacked.rig.source / "releases" / digest[7:] / "release.dsse.json"
    path.write_bytes(attacked.with_high_s(path.read_bytes()))
    assert attacked.rig.run("stage", digest).code == 0
