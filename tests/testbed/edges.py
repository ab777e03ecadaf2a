"""Every edge of the journal × every fault: what happens to the robot, and whether that is what may happen.

`play` plays one of the points of tests/testbed/scenarios.py. A point whose fault was not seen to fire counts for
nothing. docs/rollback.md has the promise.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from stack.agent.disk import journal
from stack.agent.disk.journal import Record, utc_now
from stack.agent.disk.store import Store
from stack.agent.gate import judge
from tests.fakes.disk import Image, write_image
from tests.fakes.stand_in import RUN_S, Agent, Answer, StandIn
from tests.testbed.scenarios import SCENARIOS, Point, Scenario

SABOTAGE = os.environ.get("SABOTAGE")


@dataclass
class Outcome:
    """What came of a point: `wrong` says what must not be; `states` counts what was booted."""

    point: Point
    fired: bool = False
    wrong: list[str] = field(default_factory=list)
    states: int = 0
    seconds: float = 0.0
    brick: bool = False

    @property
    def ok(self) -> bool:
        return self.fired and not self.wrong


class Range:
    """Plays points on one robot, one after the other."""

    def __init__(self, robot: StandIn) -> None:
        self._robot = robot
        self._cuts: dict[str, dict[str, list[Image]]] = {}
        self._steps: dict[str, dict[str, tuple[int, int]]] = {}
        self._written: set[str] = {key_of(record) for record in robot.journal()}
        robot.forgetful = SABOTAGE == "no_fsync"
        if SABOTAGE == "no_gate":
            judged = judge.judge
            judge.judge = lambda *given: _blind(judged(*given))  # type: ignore[assignment]
        if SABOTAGE == "no_crc":
            journal._crc = lambda fields: _Right("00000000")

    def play(self, point: Point) -> Outcome:
        outcome, began = Outcome(point), time.monotonic()
        try:
            if point.fault == "power_cut":
                self._cut(point, outcome)
            else:
                self._strike(point, outcome)
        except AssertionError as error:
            outcome.wrong.append(str(error))
        outcome.seconds = time.monotonic() - began
        return outcome

    def _agent(self, wall: Callable[[], str] = utc_now) -> Agent:
        agent = self._robot.boot(wall)
        append = agent.disk.append

        def noted(path: Any, data: bytes) -> None:
            self._written.add(key_of(json.loads(data)))
            append(path, data)

        agent.disk.append = noted  # type: ignore[method-assign]
        return agent

    def _strike(self, point: Point, outcome: Outcome) -> None:
        robot, scenario = self._robot, SCENARIOS[point.scenario]
        robot.reset(scenario.image)
        wall, later = [utc_now], Late()
        agent = self._agent(lambda: wall[0]())
        disk, away = agent.disk, robot.source.with_name("away")

        def before(edge: str) -> None:
            if edge == point.edge:
                outcome.fired = point.fault not in ("runtime_down", "torn_journal", "kill_after")
                agent.power.dead = point.fault == "kill_before"
                disk.full, disk.broken_sync = point.fault == "no_space", point.fault == "io_error"
                if point.fault == "source_cut":
                    robot.source.rename(away)
                later.come(point.fault, agent)
                if point.fault == "clock_jump":
                    wall[0] = lambda: "1970-01-01T00:00:00.000+00:00"

        def after(edge: str) -> None:
            if edge == point.edge:
                agent.runtime.down = point.fault == "runtime_down"
                wall[0] = (lambda: "2099-12-31T23:59:59.000+00:00") if point.fault == "clock_jump" else utc_now
                if point.fault in ("kill_after", "torn_journal"):
                    outcome.fired = agent.power.dead = True
                    agent.power.touch()

        disk.before, disk.after = before, after
        try:
            answer = scenario.act(agent)
            undone = later.undid(point.edge)
        finally:
            agent.kill()
            if away.exists():
                away.rename(robot.source)
        outcome.fired = outcome.fired or agent.runtime.refused > 0
        allowed = {scenario.start} if undone else _allowed(scenario, point, answer)
        if point.fault == "torn_journal":
            self._tear(point, outcome, allowed)
        else:
            self._boot(point, outcome, allowed, full=disk.full)

    def _tear(self, point: Point, outcome: Outcome, allowed: set[str]) -> None:
        """Half of the last record, then a whole one with another digit in it; then garbage behind it."""
        path = self._robot.layout.journal
        data = path.read_bytes()
        *_, last = data.splitlines(keepends=True)
        head = data[: -len(last)]
        wrong = last.replace(b'"intent"', b'"done"')
        for release in (self._robot.old, self._robot.new):
            wrong = wrong.replace(release[7:].encode(), b"0123456789abcdef" * 4)
        for damaged in (head + last[: len(last) // 2], head + wrong, data + b'{"stage":"COMMIT"\x00\x00\n'):
            path.write_bytes(damaged)
            self._boot(point, outcome, allowed)
            self._robot.power_off()

    def _cut(self, point: Point, outcome: Outcome) -> None:
        """Boot every state that a power cut between this record and the next one could leave."""
        scenario = SCENARIOS[point.scenario]
        if point.scenario not in self._cuts:
            self._cuts[point.scenario] = self._record(scenario)
        cuts = self._cuts[point.scenario]
        last = point.edge == scenario.edges[-1]
        for image in [*cuts.get(point.edge, []), *(cuts["end"] if last else [])]:
            self._robot.power_off()
            write_image(self._robot.root, image)
            outcome.fired = True
            allowed = _allowed(scenario, point, Answer(error="killed"))
            over = last and image in cuts["end"]
            in_commit = point.edge == "COMMIT:intent" and scenario.start != scenario.target
            self._boot(
                point,
                outcome,
                {scenario.target} if over else {scenario.start, scenario.target} if in_commit else allowed,
            )

    def cuts(self, scenario: Scenario) -> list[Image]:
        """Of each record of a change, what a power cut leaves at the latest before the next one."""
        return [states[-1] for states in self._record(scenario).values() if states]

    def _record(self, scenario: Scenario) -> dict[str, list[Image]]:
        self._robot.reset(scenario.image)
        agent = self._agent()
        agent.disk.recording = True
        scenario.act(agent)
        cuts = {edge: list(states.values()) for edge, states in agent.disk.states.items()}
        cuts["end"] = list(agent.disk.cut())
        agent.kill()
        return cuts

    def interrupt(self, name: str, stage: str, chance: random.Random) -> Outcome:
        """End the agent at one of its steps in a stage, by SIGKILL or with the power."""
        scenario, robot = SCENARIOS[name], self._robot
        if name not in self._steps:
            self._steps[name] = self._count(scenario)
        fault, share = chance.choice(("kill", "power")), chance.random()
        robot.reset(scenario.image)
        agent = self._agent()
        first, last = self._steps[name][stage]
        entered = "intent" if stage != "FAILED" else "done"

        def before(edge: str) -> None:
            if edge == f"{stage}:{entered}":
                agent.power.ends_at = agent.power.touches + 1 + int(0.8 * share * (last - first))

        agent.disk.before = before
        answer = scenario.act(agent)
        edge = agent.disk.edge
        outcome = Outcome(Point(name, edge, fault), fired=agent.power.dead)
        in_commit = edge == "COMMIT:intent" and scenario.start != scenario.target
        point = Point(name, edge, fault)
        allowed = {scenario.start, scenario.target} if in_commit else _allowed(scenario, point, answer)
        if fault == "power":
            image = chance.choice(list(agent.disk.cut()))
            agent.kill()
            robot.power_off()
            write_image(robot.root, image)
        agent.kill()
        try:
            self._boot(point, outcome, allowed)
        except AssertionError as error:
            outcome.wrong.append(str(error))
            outcome.brick = True
        return outcome

    def _count(self, scenario: Scenario) -> dict[str, tuple[int, int]]:
        """The steps that a stage begins and ends at."""
        self._robot.reset(scenario.image)
        agent = self._agent()
        steps: dict[str, tuple[int, int]] = {}

        def heard(edge: str) -> None:
            stage = edge.partition(":")[0]
            steps[stage] = (steps.get(stage, (agent.power.touches, 0))[0], agent.power.touches)

        agent.disk.before = agent.disk.after = heard
        scenario.act(agent)
        agent.kill()
        return steps

    def _boot(self, point: Point, outcome: Outcome, allowed: set[str], full: bool = False) -> None:
        """Start the agent again, as often as it takes to say that nothing changes any more."""
        robot = self._robot
        outcome.states += 1
        agent = self._agent()
        agent.disk.full = full
        read = [key_of(_fields(record)) for record in agent.host.journal.records]
        believed = [key for key in read if key not in self._written]
        try:
            status = agent.keep_until_well(str(point))
            agent.disk.full = False
            _until_closed(agent)
            records = len(agent.host.journal.records)
            wrong = list(_faults(robot, point, agent, status, allowed))
            if point.scenario == "stage" and point.fault == "kill_after":
                again = agent.stage(robot.new)
                wrong += [] if again.result and again.result["stage"] == "READY" else [f"not staged again: {again}"]
                records = len(agent.host.journal.records)
        finally:
            agent.kill()
        later = self._agent()
        later.keeper.keep()
        later.kill()
        if len(later.host.journal.records) != records:
            wrong.append("a second start changed something")
        outcome.wrong += wrong + [f"believed a damaged record: {key}" for key in believed]


class Late:
    """What comes in between.

    A rollback that somebody asks for while a change goes on, or the end of the robot's permission.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._answers: list[Answer] = []

    def come(self, fault: str, agent: Agent) -> None:
        """Other faults are not its matter. Returns once a rollback is queued, or refused."""
        if fault == "lease_over":
            assert agent.host.work.permission is not None
            agent.host.work.permission._until_s = 0.0
        if fault != "rollback":
            return
        self._thread = threading.Thread(target=lambda: self._answers.append(agent.rollback()))
        self._thread.start()
        deadline = time.monotonic() + RUN_S
        while not self._answers and not agent.host.work.abort.is_set():
            assert time.monotonic() < deadline, "the rollback is neither queued nor refused"
            time.sleep(0.001)

    def undid(self, edge: str) -> bool:
        """Whether a rollback was asked for and carried out. Only what is being committed is not called off."""
        if self._thread is None:
            return False
        self._thread.join(RUN_S)
        assert self._answers, "the rollback does not end"
        answer = self._answers[0]
        assert answer.result or edge.startswith("COMMIT"), f"not rolled back: {answer.error}"
        return answer.result is not None


class _Right(str):
    """A checksum that agrees with every other."""

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = object.__eq__
    __hash__ = str.__hash__


def _blind(judgement: judge.Judgement) -> judge.Judgement:
    return judge.Judgement(judge.GateResult(judgement.result.gate, "healthy", ()), False)


def key_of(record: dict[str, Any]) -> str:
    return json.dumps([record[key] for key in ("seq", "deployment", "stage", "phase", "release", "detail")])


def _fields(record: Record) -> dict[str, Any]:
    names = ("seq", "deployment", "stage", "phase", "detail")
    return {**{name: getattr(record, name) for name in names}, "release": record.release and str(record.release)}


def _allowed(scenario: Scenario, point: Point, answer: Answer) -> set[str]:
    """What may drive in the end. Nothing but a durable COMMIT makes it the target."""
    if answer.result is not None:
        return {scenario.target}
    return {scenario.target if point.edge == "COMMIT:done" else scenario.start}


def _until_closed(agent: Agent) -> None:
    deadline = time.monotonic() + 5.0
    while agent.host.journal.open_record() is not None:
        agent.keeper.keep()
        assert time.monotonic() < deadline, "a change stays open"


def _faults(robot: StandIn, point: Point, agent: Agent, status: dict[str, Any], allowed: set[str]) -> Iterator[str]:
    """What must not be, once the robot is well again."""
    names = {robot.old: "old", robot.new: "new"}
    running = names.get(status["running"]["digest"] if status["running"] else "", "nothing")
    if running not in allowed:
        yield f"{running} drives, and only {' or '.join(sorted(allowed))} may"
    if status["running"] != status["current"]:
        yield "current names another release than the one that drives"
    if "arm" in robot.supervisor.verbs():
        yield "the agent armed the robot"
    if running == "nothing" and "no release was committed yet" not in status["problems"]:
        yield f"it does not say that nothing was committed: {status['problems']}"
    yield from _unsafe(agent.host.store)
    yield from _unsaid(robot, point, agent)
    with suppress(OSError):
        left = [path.name for path in robot.layout.ingest.glob("release-*")]
        if left:
            yield f"leftovers: {left}"


def _unsafe(store: Store) -> Iterator[str]:
    """Links that lead to what may not run, or is not whole."""
    committed = store.floor().committed
    if store.current() is not None and store.current() not in committed:
        yield "what drives is not among what was committed"
    for name in ("previous", "fallback"):
        digest = getattr(store, name)()
        if digest is not None and (digest not in committed or store.missing(digest)):
            yield f"{name} is no way back"


def _unsaid(robot: StandIn, point: Point, agent: Agent) -> Iterator[str]:
    """Failures without a word, or without what has to follow from them. Who asked for a rollback needs none."""
    records = agent.host.journal.records
    last = records[-1] if records else None
    failure = last.detail.get("failure") if last else None
    asked = point.fault == "rollback" or point.scenario == "called_off"
    if last and last.stage == "FAILED" and not asked and not (isinstance(failure, dict) and failure.get("message")):
        yield "a failure without a word why"
    known = any(record.stage == "ROLLBACK" and record.detail.get("quarantine") for record in records)
    if known and not set(map(str, agent.host.store.quarantined())) & {robot.new, robot.old}:
        yield "the release that failed is not in quarantine"
