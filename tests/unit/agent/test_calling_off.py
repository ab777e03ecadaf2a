"""A rollback that comes while something is under way: what it ends, when it has to wait, and when it is too late to be anything but a rollback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_registry.core.digest import Digest
from stack.agent.journal import Deployment
from tests.fakes.stand_in import Answer, StandIn
from tests.testbed.edges import SCENARIOS


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn(tmp_path_factory.mktemp("calling-off")) as robot:
        robot.prepare()
        yield robot


def called_off(robot: StandIn, scenario: str, edge: str) -> tuple[Answer, str, list[str]]:
    """Play a change, with a rollback that comes at this record: its answer, what drives in the end, and what is in quarantine."""
    robot.reset(SCENARIOS[scenario].image)
    agent = robot.boot()
    agent.disk.after = lambda found: agent.host.abort.set() if found == edge else None
    answer = SCENARIOS[scenario].act(agent)
    status = agent.keep_until_well(edge)
    agent.kill()
    return answer, {robot.old: "old", robot.new: "new"}[status["running"]["digest"]], status["quarantined"]


@pytest.mark.parametrize("edge", SCENARIOS["stage"].edges[:-2])
def test_staging_ends_at_any_step_and_blames_nobody(robot: StandIn, edge: str) -> None:
    answer, running, quarantined = called_off(robot, "stage", edge)
    assert "called off by a rollback" in (answer.error or "") and running == "old" and quarantined == []
    assert not list(robot.layout.ingest.glob("release-*"))


@pytest.mark.parametrize("edge", SCENARIOS["switch"].edges[:5])
def test_a_switch_ends_on_the_old_release_until_its_probation_is_over(robot: StandIn, edge: str) -> None:
    answer, running, quarantined = called_off(robot, "switch", edge)
    assert answer.result is None and running == "old" and quarantined == []


def test_a_rollback_that_comes_in_the_switch_waits_for_it_and_takes_the_wheel_back(robot: StandIn) -> None:
    answer, running, _ = called_off(robot, "switch", "SWITCH:intent")
    assert answer.failure is not None and answer.failure["metric"] == "request" and running == "old"
    stages = [f"{record['stage']}:{record['phase']}" for record in robot.journal()]
    assert stages[-7:] == ["SWITCH:done", "PROBATION:intent", *SCENARIOS["bad"].edges]


@pytest.mark.parametrize("edge", SCENARIOS["switch"].edges[5:])
def test_what_is_being_committed_is_not_called_off(robot: StandIn, edge: str) -> None:
    answer, running, _ = called_off(robot, "switch", edge)
    assert answer.result is not None and running == "new"


def test_a_deployment_that_goes_round_in_circles_is_ended(robot: StandIn) -> None:
    robot.reset("staged")
    agent = robot.boot()
    with pytest.raises(Exception, match="goes round in circles"), agent.host.claimed("test", "switch"):
        deployment = Deployment(agent.host, Digest.parse(robot.new), lambda stage, text: None)
        for _ in range(100):
            deployment.begin("WAIT")
    assert agent.keep_until_well("old drives")["running"]["digest"] == robot.old
    agent.kill()
