"""One rig a test: of the process runtime, of the docker runtime, or each in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.docker_rig import DockerRig
from tests.fakes.rig import Rig


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
