"""What is told of a run: each robot's story, from its own answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.ansible.test_waves import FAILED, NEW, OLD, PROVED, START, load, waves

reports = load("ansible/plugins/filter/reports.py")
IDLE: dict[str, Any] = {
    "stage": "IDLE",
    "running": {"digest": OLD, "version": "1.0.0"},
    "previous": None,
    "fallback": {"digest": OLD, "version": "1.0.0"},
    "current": {"digest": OLD, "version": "1.0.0"},
    "quarantined": [],
    "last": {"deployment": "old-1", "release": OLD, "stage": "COMMIT", "wall": "now"},
    "failure": None,
}
WORSE = {"release": NEW, "stage": "PROBATION", "metric": "missed", "value": 0.3, "threshold": 0.1, "message": "late"}
GONE = IDLE | {"last": {**IDLE["last"], "deployment": "new-2", "release": NEW, "stage": "FAILED"}, "failure": WORSE}
SWITCHED = PROVED | {"touched": True, "status": IDLE | {"stage": "PROBATION"}}


def told(verdict: dict | None = None, **steps: dict) -> dict[str, Any]:
    """One robot of a halted rollout, by what its tasks registered."""
    hostvars = {"a": {f"homeport_{step}": result for step, result in steps.items()}}
    failed = {"halted": True, "failed": {"a": verdict} if verdict else {}, "passed": []}
    found = reports.report(waves.plan(["a"], {"a": {}}), hostvars, failed, NEW, "make deploy")
    return dict(found["hosts"]["a"]) | {"row": reports.table(found["hosts"]).splitlines()[1], "notice": found["notice"]}


STAGED = PROVED | {"status": IDLE}
BACK = PROVED | {"status": IDLE, "found": None}


def test_a_robot_that_went_back_by_itself_is_not_undone_with_the_others() -> None:
    left = PROVED | {"status": GONE | {"quarantined": [NEW]}}

    line = told(staged=STAGED, switched=SWITCHED, committed={"skipped": True}, undone=left)

    assert (line["story"], line["failure"], line["restored"], line["quarantined"]) == ("went back", WORSE, True, True)
    assert "went back by itself: late; restored; in quarantine" in line["row"]
    assert line["notice"] == "In quarantine on a, which will refuse it next time. Once the cause is gone: make deploy"


def test_its_story_is_known_also_when_the_way_back_wrote_another_one_over_it() -> None:
    undone = PROVED | {"status": IDLE | {"last": {**IDLE["last"], "deployment": "old-3"}}}

    line = told(staged=STAGED, switched=SWITCHED, undone=undone | {"found": {**GONE["last"], "failure": WORSE}})

    assert (line["story"], line["failure"]) == ("went back", WORSE)


def test_what_the_journal_says_is_told_and_not_that_there_was_nothing_to_commit() -> None:
    refused = {"code": 5, "msg": "not on probation here", "status": GONE}
    verdict = waves.failure_of(refused, NEW)
    assert verdict["stage"] == "REFUSED"

    line = told(verdict, staged=STAGED, switched=SWITCHED, committed=refused, undone=BACK)

    assert (line["stage"], line["failure"]["message"]) == ("PROBATION", "late")


@pytest.mark.parametrize(
    "ending",
    [
        GONE["last"] | {"deployment": "old-1", "failure": WORSE},
        GONE["last"] | {"failure": None},
        GONE["last"] | {"failure": WORSE | {"metric": "request"}},
        GONE["last"] | {"release": OLD, "failure": WORSE},
        GONE["last"] | {"stage": "COMMIT", "failure": None},
    ],
    ids=["from an earlier run", "taken back on request", "called off", "of another release", "committed"],
)
def test_other_endings_are_no_way_back_by_itself(ending: dict) -> None:
    line = told(staged=STAGED, switched=SWITCHED, undone=BACK | {"found": ending})

    assert (line["story"], line["failure"]) == ("undone", None)
    assert "undone with the others; restored" in line["row"]


def test_a_robot_whose_turn_never_came_is_not_out_of_reach() -> None:
    line = told(staged=STAGED | {"status": IDLE | {"stage": "READY"}}, switched={"skipped": True})

    assert (line["story"], line["ok"], line["touched"], line["failure"]) == ("not its turn", False, False, None)
    assert "READY  no  not its turn, the rollout was halted before" in line["row"]


def test_a_failed_restoration_is_said_aloud_and_is_a_failure_of_that_robot() -> None:
    line = told(staged=STAGED, switched=SWITCHED, undone=FAILED)

    assert (line["restored"], line["failure"]["message"]) == (False, "too slow")
    assert "too slow; NOT RESTORED" in line["row"]


def test_a_report_tells_a_restored_canary_from_robots_that_were_never_reached() -> None:
    hostvars = {
        "a": {
            "homeport_staged": STAGED,
            "homeport_switched": FAILED | {"touched": True},
            "homeport_undone": BACK,
        },
        "b": {"homeport_staged": STAGED, "homeport_switched": {"skipped": True}},
    }
    verdict = waves.verdict(START, ["a"], hostvars, "homeport_switched", NEW, ["a"])

    report = reports.report(waves.plan(["a", "b"], {"a": {}, "b": {}}), hostvars, verdict, NEW, "")

    a, b = report["hosts"]["a"], report["hosts"]["b"]
    assert report["halted"] and report["release"] == NEW and "a: too slow" in report["summary"]
    assert (a["ok"], a["stage"], a["touched"], a["restored"]) == (False, "PROBATION", True, True)
    assert (b["ok"], b["touched"], b["restored"], b["failure"]) == (False, False, None, None)
    assert report["refuses"] == [] and report["notice"] == ""


def test_the_gates_of_a_robot_come_with_their_figures_and_each_once() -> None:
    proof, shadow, probation = ({"gate": name, "checks": []} for name in ("proof", "shadow", "probation"))
    staged = STAGED | {"result": {"gates": [proof], "plan": None}}
    switched = SWITCHED | {"result": {"gates": [shadow, probation]}}
    committed = PROVED | {"result": {"gates": [shadow, probation]}, "status": IDLE}

    assert told(staged=staged, switched=switched, committed=committed)["gates"] == [proof, shadow, probation]


@pytest.mark.parametrize(
    ("sources", "limit", "words"),
    [
        (["fleet"], None, f"make deploy INVENTORY=fleet RELEASE={NEW} RETRY=1"),
        ("my fleet", "a:&b", f"make deploy INVENTORY='my fleet' RELEASE={NEW} LIMIT='a:&b' RETRY=1"),
    ],
)
def test_the_command_that_lets_them_is_one_that_a_shell_takes(sources, limit, words) -> None:
    assert reports.command(NEW, sources, limit) == words


@pytest.mark.parametrize(
    ("status", "to", "row"),
    [
        ({"previous": {"digest": NEW, "version": "2.0.0"}}, "previous", f"a  1.0.0 {OLD[7:19]}  2.0.0 {NEW[7:19]}"),
        ({"stage": "PROBATION"}, "previous", f"1.0.0 {OLD[7:19]}  on probation, and taken back"),
        ({}, "previous", "-  has no previous; it stays"),
        ({}, OLD, f"1.0.0 {OLD[7:19]}  1.0.0 {OLD[7:19]}"),
        ({}, NEW, f"1.0.0 {OLD[7:19]}  {NEW[7:19]}"),
        ({"quarantined": [OLD]}, "fallback", "in quarantine there; it is refused"),
        (
            None,
            "previous",
            "it does not say (out of reach (no route); see whether it is on and answers ssh); "
            "it is asked to go back all the same",
        ),
    ],
)
def test_a_rollback_says_where_each_robot_would_go(status, to, row) -> None:
    result = {"unreachable": True, "msg": "no route"} if status is None else {"status": IDLE | status}

    text = reports.targets(["a"], {"a": {"reg": result}}, "reg", to)

    assert " ".join(row.split()) in " ".join(text.splitlines()[1].split())


@pytest.mark.parametrize(("to", "words"), [("previous", ""), (OLD, f"TO={OLD} ")])
def test_only_the_robots_that_are_not_back_are_to_be_rolled_back_again(to: str, words: str) -> None:
    """`previous` of a robot that is back is the release that it has left."""
    hostvars = {"a": {"back": PROVED | {"status": IDLE}}, "b": {"back": FAILED}, "c": {"back": FAILED}}

    found = reports.rolled_back("abc", hostvars, "back", to, ["/srv/my fleet"])
    well = reports.rolled_back("a", hostvars, "back", to, [])

    command = f"make rollback INVENTORY='/srv/my fleet' {words}LIMIT=b,c"
    assert found["notice"] == f"Not back: b, c. Once they are repaired, for them alone: {command}"
    assert well["notice"] == "" and not well["failed"]
