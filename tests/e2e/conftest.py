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

from tests.fakes.ros import REPOSITORY
from tests.testbed.bench.__main__ import FOLDER
from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.plain import PlainBench
from tests.testbed.engine import Engine, EngineError, enable_arm64, find_engine

HERE = Path(__file__).parent
README = "test_readme.py"
TUTORIAL, LAST_CHAPTER = "test_tutorial.py", "test_fleet_down_leaves_nothing_behind"


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
def place(engine: Engine) -> Iterator[Path]:
    """Where `make fleet-up` makes its bench, which is free before and free again afterwards."""
    folder = REPOSITORY / FOLDER
    if (folder / "fleet.json").exists():
        give_up(f"there is a bench in {FOLDER}; run make fleet-down first")
    yield folder
    Bench(folder, say=print, engine=engine).down()


@pytest.fixture(scope="session")
def standing(engine: Engine, place: Path) -> Bench:
    """The bench that every test of the session may use.

    The tutorial makes it when it runs before; its last chapter removes it.
    """
    return Bench(place, say=print, engine=engine)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """README's robots first, while no others drive beside them; then the tutorial, which makes the bench that the
    others use, and whose last chapter ends it. Of those, who needs more robots comes later, and adds them.
    """
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[int, int]:
    if item.path.parent != HERE:
        return 0, 0
    if item.path.name == README:
        return 1, 0
    if item.path.name != TUTORIAL:
        return 3, len(getattr(item.module, "ROBOTS", ()))  # type: ignore[attr-defined]
    return (4, 0) if item.name == LAST_CHAPTER else (2, 0)


@pytest.fixture(scope="module")
def bench(standing: Bench, request: pytest.FixtureRequest) -> Bench:
    """The ROBOTS that the module names, on; as the module before has left them, or made where they are missing."""
    if not standing.stands(request.module.ROBOTS):
        standing.up(request.module.ROBOTS)
    return standing


def evidence(bench: object, story: object) -> Iterator[tuple[Bench | PlainBench, Path]]:
    """The benches that a test has used, each with the log of the commands that were typed there."""
    if isinstance(bench, Bench):
        yield bench, bench.folder / "ansible.log"
    if isinstance(plain := getattr(story, "bench", None), PlainBench):
        yield plain, plain.person.log


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the newest lines of every robot's units beside a failure."""
    report = yield
    given = getattr(item, "funcargs", {})
    if not report.failed:
        return report
    for bench, log in evidence(given.get("bench"), given.get("story")):
        report.sections += [(f"units of {robot.name}", robot.logs()) for robot in bench.robots.values()]
        report.sections.append(("what was typed", log.read_text()[-6000:] if log.exists() else ""))
    return report
