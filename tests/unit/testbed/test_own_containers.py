"""A bench uses, stops and removes what its own checkout has made, and nothing else that happens to run on the same
engine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from tests.testbed.bench import containers
from tests.testbed.engine import Daemon, Engine, start_ticks

OWN = containers.labels("homeport-bench")
OTHER = {**OWN, containers.CHECKOUT: "/srv/another checkout"}
STRANGE: list[dict[str, str] | None] = [{}, None, {"com.example": "x"}, {containers.LABEL: "homeport-bench"}, OTHER]


class Thing:
    """A container, volume or network of a client that is played."""

    def __init__(self, name: str, labels: dict[str, str] | None, status: str = "exited") -> None:
        self.name, self.labels, self.attrs = name, labels, {"Labels": labels}
        self.status = status
        self.done: list[str] = []

    def remove(self, **_: object) -> None:
        self.done.append("remove")

    def stop(self, timeout: int) -> None:
        self.done.append("stop")

    def start(self) -> None:
        self.done.append("start")

    def reload(self) -> None:
        self.done.append("reload")


def client(*things: Thing) -> Any:
    """A client whose three kinds of things are these; what is made anew is refused, so that nothing is by mistake."""

    def get(name: str) -> Thing:
        found = next((each for each in things if each.name == name), None)
        if found is None:
            raise NotFound(name)
        return found

    kind = SimpleNamespace(get=get, list=lambda: list(things))
    return SimpleNamespace(containers=kind, volumes=kind, networks=kind, close=lambda: None)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A process that stands for an engine that was started here."""
    child = subprocess.Popen(["sleep", "600"])
    yield Daemon(child.pid, start_ticks(child.pid), child)
    child.kill()
    child.wait()


def test_an_engine_that_was_started_here_is_stopped_after_its_own_containers(daemon: Daemon) -> None:
    robot = Thing("homeport-bench-alder", OWN)

    assert Engine(client(robot), daemon).close() == []
    assert robot.done == ["stop"] and not daemon.alive


def test_an_engine_that_others_use_by_now_goes_on_and_their_containers_are_not_touched(daemon: Daemon) -> None:
    robot, theirs = Thing("homeport-bench-alder", OWN), Thing("postgres", {"com.example": "x"})

    assert Engine(client(robot, theirs), daemon).close() == ["postgres"]
    assert (robot.done, theirs.done) == (["stop"], []) and daemon.alive


@pytest.mark.parametrize("labels", STRANGE)
def test_what_has_a_name_of_the_bench_and_is_somebody_else_s_is_refused_and_left_alone(
    labels: dict[str, str] | None,
) -> None:
    thing = Thing("homeport-bench", labels)
    fix = "run make fleet-down in /srv/another checkout" if labels is OTHER else "rename it, or remove it yourself"

    for use in (
        lambda: containers.existing(client(thing), "homeport-bench", "homeport-bench"),
        lambda: containers.volume(client(thing), "homeport-bench", "homeport-bench"),
        lambda: containers.network(client(thing), "homeport-bench"),
    ):
        with pytest.raises(AssertionError, match=f"homeport-bench is there and not of this bench: {fix}"):
            use()
    assert thing.done == []


def test_what_the_bench_has_made_before_is_used_again() -> None:
    thing = Thing("homeport-bench", OWN)

    assert containers.existing(client(thing), "homeport-bench", "homeport-bench") is thing
    containers.volume(client(thing), "homeport-bench", "homeport-bench")
    containers.network(client(thing), "homeport-bench")
    assert thing.done == ["start", "reload"]
    assert containers.existing(client(), "homeport-bench", "homeport-bench") is None


def test_everything_is_looked_for_by_bench_and_checkout() -> None:
    assert sorted(containers.wanted("homeport-bench")["label"]) == sorted(
        f"{key}={value}" for key, value in OWN.items()
    )
    assert len(OWN) == 2


GONE = {**OWN, containers.CHECKOUT: "/srv/an old checkout"}


def engine_with(robots: list[Thing], networks: list[Thing]) -> Any:
    """A client that lists by labels what is not removed."""

    def kind(things: list[Thing]) -> Any:
        def found(all: bool = False, filters: dict[str, Any] | None = None) -> list[Thing]:
            asked = (filters or {}).get("label", [])
            pairs = [each.partition("=")[::2] for each in ([asked] if isinstance(asked, str) else asked)]
            return [each for each in things if "remove" not in each.done and all_in(pairs, each.labels or {})]

        return SimpleNamespace(list=found)

    return SimpleNamespace(containers=kind(robots), volumes=kind([]), networks=kind(networks))


def all_in(pairs: list[tuple[str, ...]], labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in pairs)


def test_what_a_checkout_that_is_gone_has_left_is_removed_and_said() -> None:
    robot, link, own = Thing("homeport-bench-alder", GONE), Thing("homeport-bench", GONE), Thing("mine", OWN)
    said: list[str] = []

    containers.remove_forsaken(engine_with([robot, own], [link]), "homeport-bench", said.append)

    assert said == ["Removing what the bench of /srv/an old checkout, which is gone, has left"]
    assert (robot.done, link.done, own.done) == (["remove"], ["remove"], [])


def test_what_runs_may_belong_to_a_checkout_that_cannot_be_seen_from_here() -> None:
    robot, link = Thing("homeport-bench-alder", GONE, "running"), Thing("homeport-bench", GONE)

    containers.remove_forsaken(engine_with([robot], [link]), "homeport-bench", pytest.fail)

    assert (robot.done, link.done) == ([], [])
