"""The module as Ansible runs it: a process that reads its arguments as JSON, here against the fake agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes.agent import install
from tests.fakes.schemas import check

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "ansible_collections/homeport/fleet/plugins/modules/homeport_release.py"
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


class Robot:
    """One fake robot below `root`, and the module pointed at it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.program = install(root)

    def run(self, state: str, check_mode: bool = False, **arguments: object) -> dict:
        given = {"state": state, "root": str(self.root), "agent": str(self.program), "timeout_s": 20, **arguments}
        given |= {"_ansible_check_mode": check_mode, "_ansible_diff": True, "_ansible_remote_tmp": str(self.root)}
        path = self.root / "arguments.json"
        path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
        process = subprocess.run(
            [sys.executable, str(MODULE), str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout, process.stderr
        return json.loads(process.stdout)

    def agent(self, *verb: str) -> dict:
        argv = [str(self.program), "--root", str(self.root), "--json", *verb]
        return json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout)

    def deploy(self, release: str) -> None:
        self.agent("stage", release)
        self.agent("switch", release, "--commit", "auto")

    def break_at(self, **faults: object) -> None:
        (self.root / "faults.json").write_text(json.dumps(faults))

    @property
    def state(self) -> dict:
        path = self.root / "agent.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.state.get("journal", [])]


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path)


def test_the_fake_answers_as_the_schema_says(robot: Robot) -> None:
    documents = [robot.agent(*verb) for verb in (("status",), ("stage", A, "--dry-run"), ("stage", A), ("commit", A),
                 ("switch", A, "--commit", "wait"), ("commit", A), ("rollback",),
                 ("status",), ("prune",), ("drain",))]  # fmt: skip
    robot.break_at(stage="fail")
    documents += [robot.agent("stage", B)]

    for document in documents:
        check(document, "agent", "reply")
    assert [document["ok"] for document in documents] == [
        True,
        True,
        True,
        False,
        True,
        True,
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_release_is_staged_switched_committed_and_a_second_time_nothing_changes(robot: Robot) -> None:
    robot.deploy(A)

    for changed in (True, False):
        staged = robot.run("staged", release=B, source="oci:/x", repository="releases/pilot")
        switched = robot.run("switched", release=B, commit="wait", probation_s=0.5)
        committed = robot.run("committed", release=B)

        assert [answer["changed"] for answer in (staged, switched, committed)] == [changed] * 3
        assert all(answer["verified"] for answer in (staged, switched, committed))

    assert robot.state["current"] == B and robot.verbs[-3:] == ["stage", "switch", "commit"]
    assert committed["diff"] == {"before": f"{B}\n", "after": f"{B}\n"}


def test_rolling_back_restores_and_says_so(robot: Robot) -> None:
    robot.deploy(A)
    robot.deploy(B)

    answer = robot.run("rolled_back")

    assert answer["changed"] and answer["verified"] and answer["touched"]
    assert (answer["before"], answer["running"]) == (B, A)
    assert not robot.run("rolled_back", to=A)["changed"]


def test_pruning_says_what_went_and_check_mode_what_would(robot: Robot) -> None:
    robot.deploy(A)
    removed = [{"kind": "release", "name": "x", "bytes": 7}]
    (robot.root / "agent.json").write_text(json.dumps(robot.state | {"unneeded": removed}))

    planned, done, again = robot.run("pruned", check_mode=True), robot.run("pruned"), robot.run("pruned")

    assert [answer["changed"] for answer in (planned, done, again)] == [True, True, False]
    assert planned["predicted"] and planned["result"]["removed"] == done["result"]["removed"] == removed
    assert not any(answer["touched"] for answer in (planned, done, again)) and robot.verbs.count("prune") == 1


def test_a_channel_record_goes_to_the_robot_as_it_stands(robot: Robot) -> None:
    answer = robot.run("staged", release=A, channel_record=json.dumps({"revoked": [A]}))

    assert answer["failed"] and answer["code"] == 5 and "is revoked" in answer["msg"] and not answer["touched"]
    assert robot.state["revoked"] == [A]


def test_a_trial_is_taken_back_to_what_ran_before(robot: Robot) -> None:
    robot.deploy(A)
    robot.run("staged", release=B)
    robot.run("switched", release=B, commit="wait")

    assert robot.run("rolled_back", to=A)["running"] == A


@pytest.mark.parametrize("arguments", [{"release": "stable"}, {"release": A[:-1]}, {"release": A.upper()}])
def test_a_tag_is_refused_before_the_agent_is_called(robot: Robot, arguments) -> None:
    answer = robot.run("staged", **arguments)

    assert answer["failed"] and answer["code"] == 2 and "give the digest, not a tag" in answer["msg"]
    assert robot.state == {}


def test_a_failed_probation_names_metric_value_and_threshold(robot: Robot) -> None:
    robot.deploy(A)
    robot.run("staged", release=B)
    robot.break_at(probation="fail")

    answer = robot.run("switched", release=B)

    assert answer["failed"] and answer["code"] == 1 and answer["touched"] and not answer["verified"]
    assert "stage PROBATION: inference_p99_ms 80.5, threshold 33.0" in answer["msg"]
    assert (answer["before"], answer["running"], answer["failure"]["value"]) == (A, A, 80.5)


def test_a_refusal_has_touched_nothing(robot: Robot) -> None:
    answer = robot.run("switched", release=B)

    assert answer["failed"] and answer["code"] == 5 and answer["touched"] is False


def test_a_failed_proof_has_touched_nothing(robot: Robot) -> None:
    robot.break_at(stage="fail")

    answer = robot.run("staged", release=B)

    assert answer["failed"] and answer["failure"]["stage"] == "PROVE" and answer["touched"] is False


def test_a_silent_agent_is_stopped_and_counts_as_failed(robot: Robot) -> None:
    robot.deploy(A)
    robot.run("staged", release=B)
    robot.break_at(probation="silent")

    answer = robot.run("switched", release=B, timeout_s=1)

    assert answer["failed"] and answer["silent"] and answer["touched"]
    assert "did not answer 'switch' in 1 s" in answer["msg"]


def test_an_answer_that_is_no_document_is_a_failure(robot: Robot) -> None:
    robot.break_at(status="garbage")

    answer = robot.run("status")

    assert answer["failed"] and "Segmentation fault" in answer["msg"]


def test_an_agent_that_is_not_there_is_a_failure(robot: Robot) -> None:
    answer = robot.run("status", agent="/nowhere/homeport-agent")

    assert answer["failed"] and "bootstrap.yml installs it" in answer["msg"]


def test_a_yes_without_proof_is_a_failure(robot: Robot) -> None:
    robot.run("staged", release=A)
    robot.break_at(unproven=True)

    answer = robot.run("switched", release=A)

    assert answer["failed"] and answer["touched"] and "the agent said yes" in answer["msg"]


def test_an_unhealthy_status_is_still_a_status(robot: Robot) -> None:
    robot.deploy(A)
    robot.break_at(problems=["slot a: no process runs"])

    answer = robot.run("status")

    assert not answer.get("failed") and answer["status"]["problems"] == ["slot a: no process runs"]


@pytest.mark.parametrize(
    ("state", "arguments", "after"),
    [("staged", {"release": B}, B), ("switched", {"release": B}, B), ("committed", {"release": B}, B),
     ("rolled_back", {"to": B}, B), ("held", {}, A)],
)  # fmt: skip
def test_check_mode_predicts_and_writes_nothing(robot: Robot, state, arguments, after) -> None:
    robot.deploy(A)
    before = robot.state

    answer = robot.run(state, check_mode=True, **arguments)

    assert answer["changed"] and answer["predicted"] and not answer["verified"] and not answer["touched"]
    assert answer["diff"] == {"before": f"{A}\n", "after": f"{after}\n"}
    assert robot.state == before
    assert state != "staged" or answer["result"]["plan"]["bytes"] == 1000


def test_the_doctor_is_asked_also_where_no_agent_serves(robot: Robot) -> None:
    robot.break_at(status="garbage", doctor={"disk": "fail"})

    answer = robot.run("doctor")

    assert not answer.get("failed") and answer["result"]["verdict"] == "fail"
    check({"v": 1, "ok": True, "result": answer["result"]}, "agent", "reply")


def test_what_a_failed_robot_says_of_itself_is_short(robot: Robot) -> None:
    robot.deploy(A)
    robot.run("staged", release=B)
    robot.break_at(probation="fail")

    answer = robot.run("switched", release=B)

    assert answer["status"]["quarantined"] == [B] and "slots" not in answer["status"]
    assert answer["found"]["release"] == A and answer["status"]["last"]["release"] == B


def test_holding_changes_once(robot: Robot) -> None:
    assert [robot.run("held")["changed"] for _ in range(2)] == [True, False]


def test_the_documentation_lists_the_arguments_as_they_are() -> None:
    namespace: dict = {"__name__": "documentation"}
    sys.path.insert(0, str(ROOT))
    try:
        exec(compile(MODULE.read_text(), str(MODULE), "exec"), namespace)
    finally:
        sys.path.remove(str(ROOT))
    documented = yaml.safe_load(namespace["DOCUMENTATION"])["options"]

    shown = {
        name: {key: option[key] for key in ("type", "choices", "default", "required") if key in option}
        for name, option in documented.items()
    }
    assert shown == namespace["ARGUMENTS"]
    assert yaml.safe_load(namespace["EXAMPLES"]) and yaml.safe_load(namespace["RETURN"])
