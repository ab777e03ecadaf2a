"""A rollback that comes while something is under way: what it ends, when it has to wait, and when it is too late to be
anything but a rollback.
"""

from __future__ import annotations

import itertools
import threading

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.release import Release
from stack.agent.change.claim import claimed
from stack.agent.change.deployment import BEGIN, NEXT, Deployment
from stack.agent.disk.journal import STAGES
from stack.agent.machine.processes import ProcessId
from tests.fakes.rig import TOP
from tests.fakes.stand_in import Agent, Answer, StandIn
from tests.testbed.scenarios import SCENARIOS


def called_off(robot: StandIn, scenario: str, edge: str) -> tuple[Answer, str, list[str]]:
    """Play a change, with a rollback that comes at this record: its answer, what drives in the end, and what is in
    quarantine.
    """
    robot.reset(SCENARIOS[scenario].image)
    agent = robot.boot()
    agent.disk.after = lambda found: agent.host.work.abort.set() if found == edge else None
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


@pytest.mark.parametrize(
    ("stages", "refused"),
    [
        (("WAIT",), "WAIT"),
        (("WAIT",), "PROBATION"),
        (("WAIT", "SWITCH"), "COMMIT"),
        (("WAIT", "SWITCH", "PROBATION"), "SWITCH"),
        (("WAIT", "ROLLBACK", "VERIFY_ROLLBACK", "FAILED"), "WAIT"),
        ((), "SWITCH"),
    ],
)
def test_a_stage_that_may_not_follow_is_refused(robot: StandIn, stages: tuple[str, ...], refused: str) -> None:
    robot.reset("staged")
    agent = robot.boot()
    with claimed(agent.host, "test", "switch"):
        deployment = Deployment(agent.host, Digest.parse(robot.new), lambda stage, text: None)
        for stage in stages:
            deployment.begin(stage)
        records = len(agent.host.journal.records)
        with pytest.raises(HomeportError, match=f"{refused} may not follow"):
            deployment.begin(refused)
        assert len(agent.host.journal.records) == records, "what is refused is not written down"
    assert agent.keep_until_well("old drives")["running"]["digest"] == robot.old
    agent.kill()


def test_every_stage_is_in_the_table_and_every_deployment_can_end() -> None:
    assert set(NEXT) == {BEGIN, *STAGES}
    assert {stage for following in NEXT.values() for stage in following} == set(STAGES)
    ends = {"READY", "COMMIT", "FAILED"}
    reached = set(ends)
    for _ in NEXT:
        reached |= {stage for stage, following in NEXT.items() if reached & set(following)}
    assert reached == set(NEXT)


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if ":" in scenario.edges[0]])
def test_what_a_scenario_writes_into_the_journal_follows_the_table(name: str) -> None:
    stages = [edge.partition(":")[0] for edge in SCENARIOS[name].edges]
    assert all(after == before or after in NEXT[before] for before, after in itertools.pairwise(stages)), stages


def test_the_manual_shows_the_stages_that_may_follow() -> None:
    lines = (TOP / "docs/rollback.md").read_text().splitlines()
    shown = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| `")]
    wanted = [(f"`{stage}`", " ".join(f"`{each}`" for each in following) or "–") for stage, following in NEXT.items()]
    assert [row for row in shown if len(row) == 2] == wanted


def asked_meanwhile(robot: StandIn, agent: Agent, edge: str, commit: str) -> tuple[Answer, Answer]:
    """A switch, and a rollback of another client that comes at this record; the answers of both."""
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(agent.rollback()))

    def ask(found: str) -> None:
        if found == edge and not client.ident:
            client.start()
            robot.until(agent.host.work.abort.is_set, "the rollback is heard")

    agent.disk.after = ask
    switched = agent.switch(robot.new, commit)
    client.join(30)
    return switched, answers[0]


def test_a_rollback_that_comes_as_the_trial_begins_ends_the_trial(robot: StandIn) -> None:
    robot.reset("staged")
    agent = robot.boot()
    switched, rolled_back = asked_meanwhile(robot, agent, "PROBATION:done", "wait")
    assert switched.result is not None and switched.result["stage"] == "PROBATION"
    assert rolled_back.result is not None and rolled_back.result["release"] == robot.old
    status = agent.keep_until_well("the old release drives")
    assert status["running"]["digest"] == robot.old and status["stage"] == "IDLE"
    assert robot.journal()[-1]["detail"]["failure"] is None, "asked for, and not because its time was over"
    agent.kill()


def test_a_rollback_whose_way_back_fails_is_no_success(robot: StandIn) -> None:
    """The worst answer: exit 0 while nothing drives."""
    robot.reset("staged")
    agent = robot.boot()
    start = agent.runtime.start

    def lost(slot: str, release: Release) -> ProcessId:
        raise HomeportError(f"slot {slot}: its image is gone")

    def end_the_old(edge: str) -> None:
        if edge == "ROLLBACK:intent":
            agent.runtime.stop("a")
            agent.runtime.start = lost  # type: ignore[method-assign]

    agent.disk.before = end_the_old
    switched, rolled_back = asked_meanwhile(robot, agent, "SWITCH:intent", "auto")
    assert switched.result is None and rolled_back.result is None
    assert rolled_back.error == "slot a: its image is gone" and rolled_back.failure is not None
    assert rolled_back.failure["release"] == robot.old and robot.supervisor.holders
    agent.runtime.start = start  # type: ignore[method-assign]
    agent.keep_until_well("the keeper starts it again")
    agent.kill()


def test_an_end_that_is_not_in_sight_is_no_success(robot: StandIn) -> None:
    robot.reset("staged")
    agent = robot.boot()
    with claimed(agent.host, "test", "stage"):
        Deployment(agent.host, Digest.parse(robot.new), lambda stage, text: None)
        agent.host.stopping.set()
        answer = agent.rollback()
    assert answer.result is None and "takes longer; ask for the status" in (answer.error or "")
    agent.kill()


def test_a_trial_that_nobody_can_watch_any_more_is_taken_back(robot: StandIn) -> None:
    robot.reset("staged")
    agent = robot.boot()
    assert agent.switch(robot.new, "wait").result
    alive = agent.runtime.alive

    def broken(slot: str) -> ProcessId | None:
        agent.runtime.alive = alive  # type: ignore[method-assign]
        raise ValueError("no such field")

    agent.runtime.alive = broken  # type: ignore[method-assign]
    robot.until(lambda: agent.host.work.probation is None, "the trial ends")
    status = agent.keep_until_well("the old release drives")
    assert status["running"]["digest"] == robot.old and status["quarantined"] == []
    assert "internal error: ValueError: no such field" in status["failure"]["message"]
    agent.kill()


def test_a_trial_whose_claim_was_taken_over_does_not_give_it_back(robot: StandIn) -> None:
    robot.reset("staged")
    agent = robot.boot()
    assert agent.switch(robot.new, "wait").result
    claim = agent.host.work.claim
    claim.renew(0.0)
    claim.take("another", "pin", 60.0, agent.host.journal.fence)
    mine = claim.terms
    assert agent.rollback().result and claim.terms == mine is not None and not claim.overdue
    claim.drop()
    agent.keep_until_well("the old release drives")
    agent.kill()


def test_a_container_engine_that_dies_before_the_build_is_no_fault_of_the_release(robot: StandIn) -> None:
    robot.reset("old")
    agent = robot.boot()
    agent.disk.after = lambda edge: setattr(agent.runtime, "down", edge == "BUILD:intent")
    answer = agent.stage(robot.new)
    assert agent.runtime.refused and "does not answer" in (answer.error or "")
    agent.runtime.down = False
    agent.disk.after = lambda edge: None
    assert agent.host.store.quarantined() == {} and agent.stage(robot.new).result
    agent.kill()
