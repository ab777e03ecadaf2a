"""The worst hour of a fleet, case by case: several robots, the registry or the controller fail at once.

    outcome = play(fleet, "frozen_and_full")

Each case does what an operator would do, by the words that he is told, and leaves robots that are well. The bench
`fleet_faults` plays all of them, an end-to-end test some.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.fakes.ros import wait_until
from tests.testbed.bench.operations import (
    NEW,
    OLD,
    Done,
    Fleet,
    Outcome,
    Versions,
    expect_history,
    expect_named,
    expect_offline,
    follow,
    last_words,
)

COMMIT_S = 25
"""How long a robot on probation waits for its commit in these cases."""
SLOW_S, LONG_S = 30, 300
"""Seconds of a probation that the commit of its wave waits for, and of one that somebody else is to find going on."""
SLACK_S = 40.0
RESTART = "systemctl restart containerd docker"


def play(fleet: Fleet, case: str) -> Outcome:
    """Play a case of CASES."""
    outcome = Outcome(case)
    with outcome.seconds("seconds"):
        try:
            CASES[case](fleet, outcome)
        except AssertionError as error:
            outcome.wrong.append(str(error))
    return outcome


def only_plans(fleet: Fleet, outcome: Outcome) -> None:
    """`CHECK=1` changes nothing and says where each robot would go; TO and LIMIT are kept to."""
    fleet.start_at(OLD)
    before, records = marks(fleet), fleet.history()
    release = fleet.bench.releases[NEW]
    done = fleet.deploy(CHECK="1")
    outcome.expect(done.returncode == 0, f"deploy CHECK=1: {last_words(fleet, done)}")
    plans = rows(fleet, done)
    outcome.expect(all("would" in plan for plan in plans.values()), f"no plan for each: {plans}")
    outcome.expect(release in done.stdout, "deploy CHECK=1 shows no difference")
    for to in ("previous", fleet.bench.releases[OLD]):
        done = fleet.bench.make("rollback", CHECK="1", TO=to, LIMIT=fleet.other)
        plans = rows(fleet, done)
        outcome.expect(plans[fleet.other], f"rollback CHECK=1 TO={to} says of {fleet.other} nothing")
        outcome.expect([name for name in plans if plans[name]] == [fleet.other], f"LIMIT={fleet.other} asked others")
    outcome.expect(not (changed := changes(before, marks(fleet))), f"a plan changed a robot: {changed}")
    outcome.expect(fleet.history() == records, "a plan is in the history")
    done = fleet.until_done(lambda **more: fleet.deploy(LIMIT=fleet.other, **more))
    outcome.expect(done.returncode == 0, f"deploy LIMIT={fleet.other}: {last_words(fleet, done)}")
    expect_versions(fleet, outcome, {fleet.other: NEW}, OLD)
    done = fleet.bench.make("rollback", TO="previous", LIMIT=fleet.other)
    outcome.expect(done.returncode == 0, f"rollback LIMIT={fleet.other}: {last_words(fleet, done)}")
    expect_versions(fleet, outcome, {}, OLD)
    outcome.expect(json.loads(fleet.history("last", "--json"))["asked"]["limit"] == fleet.other, "no limit in history")


def rows(fleet: Fleet, done: Done) -> dict[str, str]:
    """What a playbook's table says of each robot; nothing for one that is not in it."""
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    return {name: lines.get(name, "") for name in fleet.robots}


def marks(fleet: Fleet) -> dict[str, str]:
    """What a change of a robot leaves on its disk: its journal, links, releases and images."""
    links = "find current previous fallback slots -printf '%p -> %l\\n'"  # before a second change there is no previous
    look = f"cd /var/lib/homeport && sha256sum journal.jsonl; {links}; ls releases models engines ingest"
    look += "; docker image ls --quiet && docker ps --quiet --no-trunc"
    return {name: robot.run("sh", "-c", f"{look} 2>&1") for name, robot in fleet.robots.items()}


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The lines of two looks at all robots that are in one of them only."""
    pairs = ((name, set(before[name].splitlines()), set(after[name].splitlines())) for name in before)
    return [f"{name}: {line}" for name, old, new in pairs for line in sorted(old ^ new)]


def expect_versions(fleet: Fleet, outcome: Outcome, others: dict[str, str], version: str) -> None:
    """What drives each robot and is committed: this version, but for `others`."""
    for name, found in fleet.versions().items():
        wanted = others.get(name, version)
        outcome.expect(found == (wanted, wanted), f"{name}: drives and has committed {found}, not {wanted}")


def frozen_and_full(fleet: Fleet, outcome: Outcome) -> None:
    """A Docker hangs, a disk is full: nobody changes, each is named with its next step, and the same command heals."""
    fleet.start_at(OLD)
    robot = fleet.robots[fleet.frozen]
    robot.freeze_docker()
    fleet.resize("100m")
    try:
        with outcome.seconds("halted_after_s"):
            done = fleet.deploy()
        report = fleet.bench.report()
        message = expect_named(outcome, done, report, fleet.frozen, RESTART)
        expect_named(outcome, done, report, fleet.full, "make room")
        outcome.expect(done.returncode and report["halted"], "the rollout was not halted")
        touched = [name for name, host in report["hosts"].items() if host["touched"]]
        outcome.expect(not touched, f"changed all the same: {', '.join(touched)}")
        expect_history(fleet, outcome, "deploy")
        expect_versions(fleet, outcome, {}, OLD)
        status_of_frozen(fleet, outcome)
        problem = follow(robot, message)
        outcome.expect(problem is None, f"the step that is named does not help: {problem}")
    finally:
        fleet.resize("2g")
        robot.thaw_docker()
    with outcome.seconds("healed_after_s"):
        done = fleet.until_done(fleet.deploy)
    outcome.expect(done.returncode == 0, f"the same command does not heal: {last_words(fleet, done)}")
    expect_history(fleet, outcome, "deploy")
    expect_versions(fleet, outcome, {}, NEW)


def status_of_frozen(fleet: Fleet, outcome: Outcome) -> None:
    """The robot itself and `make status` name a Docker that hangs, within seconds."""
    robot = fleet.robots[fleet.frozen]
    for verb in ("status", "doctor"):
        with outcome.seconds(f"{verb}_s"):
            answer = robot.agent(verb, check_code=False)
        outcome.expect(answer["exit_code"] == 3, f"{verb} beside a Docker that hangs ends with {answer['exit_code']}")
        outcome.expect(RESTART in json.dumps(answer), f"{verb} does not say what to do about a Docker that hangs")
    with outcome.seconds("play_s"):
        done = fleet.bench.make("status")
    expect_named(outcome, done, fleet.bench.report(), fleet.frozen, RESTART)
    outcome.expect(done.returncode, "make status ends with 0 beside a Docker that hangs")
    expect_history(fleet, outcome, "status")
    with outcome.seconds("play_of_a_well_one_s"):
        fleet.bench.make("status", LIMIT=fleet.other)


def back_in_the_dark(fleet: Fleet, outcome: Outcome) -> None:
    """No registry, a Docker that hangs, a robot that stands still: the others are back, and those are named."""
    fleet.start_at(NEW)
    still, robot = fleet.robots[fleet.other], fleet.robots[fleet.frozen]
    fleet.bench.registry.stop(timeout=5)
    robot.freeze_docker()
    still.freeze()
    try:
        with outcome.seconds("rollback_s"):
            done = fleet.bench.make("rollback")
        report = fleet.bench.report()
        message = expect_named(outcome, done, report, fleet.frozen, RESTART)
        expect_named(outcome, done, report, fleet.other, "")
        outcome.expect(report["hosts"][fleet.other]["failure"]["stage"] == "UNREACHABLE", "who stands still is reached")
        expect_offline(outcome, report)
        rescue_of_frozen(fleet, outcome)
        still.thaw()
        expect_history(fleet, outcome, "rollback", lambda: settled(fleet, outcome))
        expect_versions(fleet, outcome, {fleet.other: NEW, fleet.frozen: NEW}, OLD)
        problem = follow(robot, message)
        outcome.expect(problem is None, f"the step that is named does not help: {problem}")
        done = fleet.until_done(lambda **_: fleet.type(named_command(report["notice"])))
        outcome.expect(
            done.returncode == 0, f"the command of the notice does not bring them back: {done.stdout[-1500:]}"
        )
        expect_offline(outcome, fleet.bench.report())
        expect_versions(fleet, outcome, {}, OLD)
    finally:
        still.thaw()
        robot.thaw_docker()
        fleet.bench.registry.start()


def settled(fleet: Fleet, outcome: Outcome) -> Versions:
    """What the robots say once the one that stood still is heard again."""
    wait_until(lambda: fleet.robots[fleet.other].answers(), SLACK_S, f"{fleet.other} to go on")
    return fleet.versions()


def rescue_of_frozen(fleet: Fleet, outcome: Outcome) -> None:
    """`homeport-rescue` beside a Docker that hangs ends with 5 and the step that helps, and has touched nothing."""
    robot = fleet.robots[fleet.frozen]
    look = "readlink /var/lib/homeport/current /var/lib/homeport/slots/a /var/lib/homeport/slots/b"
    before = robot.run("sh", "-c", look)
    with outcome.seconds("rescue_s"):
        said = robot.run("sh", "-c", "timeout 120 /usr/local/bin/homeport-rescue 2>&1; echo ended with $?")
    outcome.expect("ended with 5" in said and RESTART in said, f"homeport-rescue: {said.strip()}")
    outcome.expect(robot.run("sh", "-c", look) == before, "homeport-rescue changed links and refused")


def named_command(notice: str) -> str:
    """The command at the end of a notice."""
    _, found, command = notice.partition(": make ")
    assert found, f"no command in the notice: {notice!r}"
    return f"make {command}"


def controller_killed(fleet: Fleet, outcome: Outcome) -> None:
    """The controller dies before the commit: robots are back by its deadline by themselves; a rerun goes on."""
    fleet.start_at(OLD)
    others = [name for name in fleet.robots if name != fleet.canary]
    slow = {fleet.frozen: {"homeport_probation_s": SLOW_S}}
    with fleet.settings(slow, homeport_deadline_s=COMMIT_S):
        seen, what = lambda: all_in(fleet, others, "PROBATION"), "the second wave to be on probation"
        with fleet.deploying("ann", seen, what):
            pass
    with outcome.seconds("back_after_s"):
        back = {name: (OLD, OLD) for name in others} | {fleet.canary: (NEW, NEW)}
        with suppress(AssertionError):  # expect_versions says who is not
            wait_until(lambda: fleet.versions() == back, SLOW_S + COMMIT_S + SLACK_S, "the robots to be back")
    expect_versions(fleet, outcome, {fleet.canary: NEW}, OLD)
    for name in others:
        failure = fleet.statuses()[name]["failure"]
        outcome.expect((failure or {}).get("metric") == "commit", f"{name}: its journal says {failure}")
    record = json.loads(fleet.history("last", "--json"))
    outcome.expect(record["ended"] is None and record["outcome"] is None, "the record of a killed run has an end")
    outcome.expect("its controller was killed" in fleet.history("last"), "history does not say that it has no end")
    done = fleet.until_done(fleet.deploy)
    outcome.expect(done.returncode == 0, f"the same command does not go on: {last_words(fleet, done)}")
    expect_history(fleet, outcome, "deploy")
    expect_versions(fleet, outcome, {}, NEW)


def all_in(fleet: Fleet, names: list[str], stage: str) -> bool:
    return {found for name, found in fleet.stages().items() if name in names} == {stage}


def two_controllers(fleet: Fleet, outcome: Outcome) -> None:
    """The second of two controllers is told who is first, and changes nothing; what the first held ends with it."""
    fleet.start_at(OLD)
    with fleet.settings(homeport_probation_s=LONG_S, homeport_deadline_s=COMMIT_S):
        seen, what = lambda: all_in(fleet, [fleet.canary], "PROBATION"), "the canary to be on probation"
        with fleet.deploying("ann", seen, what):
            before = fleet.versions()
            done = fleet.deploy()
            report = fleet.bench.report()
            message = expect_named(outcome, done, report, fleet.canary, "switch by ann@")
            outcome.expect("is running since 20" in message and "wait for it, or roll it back" in message, message)
            stage = report["hosts"][fleet.canary]["failure"]["stage"]
            outcome.expect(stage == "LOCKED" and report["halted"], f"the second run ends with {stage}")
            release = ("stage", fleet.bench.releases[NEW], "--by", "bert@elsewhere")
            code = fleet.robots[fleet.canary].agent(*release, check_code=False)["exit_code"]
            outcome.expect(code == 6, f"the robot itself answers with {code}")
            outcome.expect(fleet.versions() == before, "the second run changed a robot")
            expect_history(fleet, outcome, "deploy")
    with outcome.seconds("freed_after_s"):
        done = fleet.bench.make("rollback", LIMIT=fleet.canary, TO=fleet.bench.releases[OLD])
    outcome.expect(done.returncode == 0, f"rolling back what the first held: {last_words(fleet, done)}")
    expect_versions(fleet, outcome, {}, OLD)
    answer = fleet.robots[fleet.canary].agent(*release, check_code=False)
    outcome.expect(answer["exit_code"] == 0, f"still locked after the way back: {answer['error']}")


def back_by_itself(fleet: Fleet, outcome: Outcome) -> None:
    """A robot passes its wave and leaves the release before the commit: the report has why, and how it is let again."""
    fleet.start_at(OLD)
    slow = {fleet.frozen: {"homeport_probation_s": SLOW_S}}
    with fleet.settings(slow):
        seen, what = lambda: passed(fleet, fleet.other), f"{fleet.other} to pass its probation"
        with fleet.deploying("ann", seen, what) as first:
            fail_policy(fleet, fleet.other)
            first.wait(300)
    report = fleet.bench.report()
    host = report["hosts"][fleet.other]
    outcome.expect(first.returncode != 0 and report["halted"], "the rollout was not halted")
    outcome.expect(host["story"] == "went back" and host["quarantined"], f"{fleet.other}: {host}")
    outcome.expect(
        (host["failure"] or {}).get("metric") == "process", f"{fleet.other}: its reason is {host['failure']}"
    )
    outcome.expect("RETRY=1" in report["notice"] and fleet.other in report["notice"], f"notice: {report['notice']}")
    expect_history(fleet, outcome, "deploy")
    expect_versions(fleet, outcome, {}, OLD)
    done = fleet.deploy()
    expect_named(outcome, done, fleet.bench.report(), fleet.other, "failed here before")
    done = fleet.until_done(lambda **_: fleet.type(named_command(report["notice"])))
    outcome.expect(done.returncode == 0, f"the command of the notice does not let it: {last_words(fleet, done)}")
    expect_history(fleet, outcome, "deploy")
    expect_versions(fleet, outcome, {}, NEW)


def passed(fleet: Fleet, name: str) -> bool:
    """Whether a robot has passed its probation and waits for its commit, by its journal."""
    last = fleet.robots[name].read("tail", "-n", "1", "/var/lib/homeport/journal.jsonl")
    return '"stage":"PROBATION"' in last.replace(" ", "") and '"phase":"done"' in last.replace(" ", "")


def fail_policy(fleet: Fleet, name: str) -> None:
    """The policy on probation ends, as one with a fault of its own does."""
    robot = fleet.robots[name]
    slots: dict[str, Any] = robot.agent("status", check_code=False)["slots"]
    slot = next(key for key, each in slots.items() if each and each["release"] == fleet.bench.releases[NEW])
    robot.run("docker", "kill", f"homeport-slot-{slot}")


CASES: dict[str, Callable[[Fleet, Outcome], None]] = {
    "only_plans": only_plans,
    "frozen_and_full": frozen_and_full,
    "back_in_the_dark": back_in_the_dark,
    "controller_killed": controller_killed,
    "two_controllers": two_controllers,
    "back_by_itself": back_by_itself,
}
"""In an order in which each finds the fleet as the one before leaves it; none needs that."""
