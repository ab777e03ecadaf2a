"""One rig a test: of the process runtime, of the docker runtime, or each in turn; or one stand-in robot a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import Rig
from tests.fakes.stand_in import StandIn


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def docker_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRig]:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with DockerRig(tmp_path) as rig:
        yield rig


@pytest.fixture(params=["rig", "docker_rig"])
def any_rig(request: pytest.FixtureRequest) -> Rig:
    """The same test for both runtimes."""
    rig: Rig = request.getfixturevalue(request.param)
    return rig


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A stand-in whose images are made once; a test takes the one that it starts from with `reset`."""
    with StandIn(tmp_path_factory.mktemp("robot")) as robot:
        robot.prepare()
        yield robot
