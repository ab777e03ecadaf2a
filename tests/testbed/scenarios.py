"""What the fault matrix plays: changes of a robot, the edges of the journal in each, and the faults at each edge.

`points()` lists them; tests/testbed/edges.py plays one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stack.agent.disk.journal import STAGING
from tests.fakes.stand_in import Agent, Answer

KILLS = ("kill_before", "kill_after")
HARD = (*KILLS, "power_cut", "no_space", "io_error")
USUAL = (*HARD, "runtime_down", "source_cut", "clock_jump", "torn_journal")
FAULTS = (*USUAL, "rollback", "lease_over")


@dataclass(frozen=True)
class Scenario:
    """A change that starts at an image of the robot; `start` drives before it, `target` after it went well.

    A verb without records has the edge `start`.
    """

    image: str
    start: str
    target: str
    edges: tuple[str, ...]
    act: Callable[[Agent], Answer]
    faults: tuple[str, ...] = USUAL


def _edges(*stages: str) -> tuple[str, ...]:
    return tuple(f"{stage}:{phase}" for stage in stages for phase in ("intent", "done"))


def _bad(agent: Agent) -> Answer:
    return _switch_bad(agent, agent.robot.new)


def _switch_bad(agent: Agent, release: str) -> Answer:
    agent.robot.supervisor.revert_after_s[release] = 0.0
    return agent.switch(release)


def _uncommitted(agent: Agent) -> Answer:
    """`--commit wait`, and nobody commits."""
    answer = agent.switch(agent.robot.new, "wait", 0.1)
    agent.outlast_probation()
    return answer


def _called_off(agent: Agent) -> Answer:
    """A rollback that is asked for in SWITCH waits for it, and takes the wheel back."""
    heard = agent.disk.before

    def before(edge: str) -> None:
        if edge == "SWITCH:intent":
            agent.host.work.abort.set()
        heard(edge)

    agent.disk.before = before
    return agent.switch(agent.robot.new)


BACK = (*_edges("ROLLBACK", "VERIFY_ROLLBACK"), "FAILED:done")
POWER = ("power_cut",)
SCENARIOS = {
    "stage": Scenario("old", "old", "old", _edges(*STAGING), lambda agent: agent.stage(agent.robot.new)),
    "switch": Scenario(
        *("staged", "old", "new", _edges("WAIT", "SWITCH", "PROBATION", "COMMIT")),
        *(lambda agent: agent.switch(agent.robot.new), (*USUAL, "rollback")),
    ),
    "bad": Scenario("staged", "old", "old", BACK, _bad),
    "rollback": Scenario(
        *("new", "new", "old", _edges("WAIT", "SWITCH", "VERIFY_ROLLBACK", "COMMIT")), lambda agent: agent.rollback()
    ),
    "first_stage": Scenario(
        *("empty", "nothing", "nothing", _edges(*STAGING)),
        *(lambda agent: agent.stage(agent.robot.old), ("kill_after", "power_cut", "no_space")),
    ),
    "first": Scenario(
        *("first", "nothing", "old", _edges("WAIT", "SWITCH", "PROBATION", "COMMIT")),
        *(lambda agent: agent.switch(agent.robot.old), (*HARD, "clock_jump", "torn_journal")),
    ),
    "first_bad": Scenario("first", "nothing", "nothing", BACK, lambda agent: _switch_bad(agent, agent.robot.old), HARD),
    "uncommitted": Scenario("staged", "old", "old", ("PROBATION:done", *BACK), _uncommitted, HARD),
    "called_off": Scenario("staged", "old", "old", ("SWITCH:done", "PROBATION:intent", *BACK), _called_off, HARD),
    "idle": Scenario(
        *("staged", "old", "new", ("WAIT:done", "SWITCH:intent")),
        lambda agent: agent.switch(agent.robot.new, gate="idle"),
        ("kill_after", "clock_jump", "lease_over"),
    ),
    "pin": Scenario("new", "new", "new", ("start",), lambda agent: agent.ask("pin", release=agent.robot.new), POWER),
    "prune": Scenario("crowded", "new", "new", ("start",), lambda agent: agent.ask("prune", dry_run=False), POWER),
}


@dataclass(frozen=True)
class Point:
    scenario: str
    edge: str
    fault: str

    def __str__(self) -> str:
        return f"{self.scenario}-{self.edge}-{self.fault}"


def points() -> list[Point]:
    """All of them, but those where the runtime is not used any more when it dies."""
    unused = {("stage", edge) for edge in _edges("PROVE", "READY")} | {("stage", "BUILD:done"), ("bad", "FAILED:done")}
    every = [
        Point(name, edge, fault)
        for fault in FAULTS
        for name, scenario in SCENARIOS.items()
        for edge in (scenario.edges if fault in scenario.faults else ())
    ]
    return [point for point in every if point.fault != "runtime_down" or (point.scenario, point.edge) not in unused]
