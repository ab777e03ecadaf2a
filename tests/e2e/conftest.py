"""What the tests with real containers share: a Docker engine, and a bench.

Without an engine they are skipped; under CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import docker
import pytest

from tests.testbed.bench.fleet import Bench
from tests.testbed.engine import Engine, EngineError, enable_arm64, find_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A usable engine, which is stopped afterwards only if it was started for this."""
    try:
        found = find_engine()
    except EngineError as error:
        give_up(str(error))
    yield found
    found.close()


def give_up(reason: str) -> NoReturn:
    """Skip what cannot run here; under CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def arm64(engine: Engine) -> None:
    """Programs and containers for arm64 run here, under emulation."""
    if reason := enable_arm64():
        give_up(reason)


@pytest.fixture(scope="session")
def docker_engine(engine: Engine) -> docker.DockerClient:
    """Its client."""
    return engine.client


@pytest.fixture(scope="session")
def standing(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench that every test of the session may use; it is made by the first and taken down at the end."""
    bench = Bench(tmp_path_factory.mktemp("bench"), "homeport-e2e", print, engine)
    yield bench
    bench.down()


@pytest.fixture(scope="module")
def bench(standing: Bench, request: pytest.FixtureRequest) -> Bench:
    """The ROBOTS that the module names, on; what a module before has taken down is made again."""
    standing.up(request.module.ROBOTS)
    return standing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the newest lines of every robot's units beside a failure."""
    report = yield
    standing = getattr(item, "funcargs", {}).get("bench")
    if report.failed and isinstance(standing, Bench):
        report.sections += [(f"units of {robot.name}", robot.logs()) for robot in standing.robots.values()]
        log: Path = standing.folder / "ansible.log"
        report.sections.append(("ansible", log.read_text()[-6000:] if log.exists() else ""))
    return report
