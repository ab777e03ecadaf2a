"""Switch, probation, commit and the ways back, with a real agent, real slot processes and a fake supervisor."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.fakes.rig import Rig
from tests.fakes.schemas import check


def stages(rig: Rig) -> list[str]:
    return [f"{record['stage']}:{record['phase']}" for record in rig.journal()]


def test_the_first_release_is_staged_switched_and_committed(rig: Rig) -> None:
    one = rig.publish("1.0.0")
    answer = rig.deploy(one)
    assert answer.code == 0, answer.document
    assert answer.result["stage"] == "COMMIT" and answer.result["changed"]
    status = rig.run("status")
    assert status.code == 0, status.document
    assert status.result["running"]["digest"] == status.result["current"]["digest"] == one
    assert status.result["previous"] is None and status.result["fallback"]["digest"] == one
    assert stages(rig)[-1] == "COMMIT:done"
    for request in rig.supervisor.requests:
        check(request, "control", "request")
    check(json.loads(rig.layout.slot_status("a").read_bytes()), "slot-status")


def test_a_second_release_takes_over_and_the_old_slot_ends(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    answer = rig.deploy(two, "--gate", "moving")
    assert answer.code == 0, answer.document
    assert [gate["gate"] for gate in answer.result["gates"]] == ["shadow", "probation"]
    status = rig.status()
    assert (status["current"]["digest"], status["previous"]["digest"]) == (two, one)
    assert rig.processes()["a"] is None and rig.processes()["b"] is not None
    again = rig.run("switch", two)
    assert again.code == 0 and not again.result["changed"]


def test_a_release_that_fails_on_probation_is_taken_back_and_quarantined(any_rig: Rig) -> None:
    rig = any_rig
    one, bad = rig.publish("1.0.0"), rig.publish("1.2.0")
    rig.deploy(one)
    rig.supervisor.revert_after_s[bad] = 0.2
    answer = rig.deploy(bad)
    assert answer.code == 1
    failure = answer.result["failure"]
    assert (failure["stage"], failure["metric"], failure["value"]) == ("PROBATION", "limited", 31.0)
    status = rig.run("status")
    assert status.code == 0 and status.result["running"]["digest"] == one
    assert status.result["quarantined"] == [bad] and status.result["failure"]["metric"] == "limited"
    assert rig.processes()["b"] is None
    last = rig.journal()[-1]
    assert last["stage"] == "FAILED" and "policy of" in " ".join(last["detail"]["log"])
    refused = rig.run("stage", bad)
    assert refused.code == 5 and "--retry" in refused.message
    assert rig.run("switch", bad).code == 5
    assert rig.run("stage", bad, "--retry").code == 0


def test_a_candidate_whose_process_dies_is_caught_before_it_drives(any_rig: Rig) -> None:
    rig = any_rig
    one, bad = rig.publish("1.0.0"), rig.publish("1.2.0", {"die_after_s": 0.3})
    rig.deploy(one)
    selects = rig.supervisor.verbs().count("select")
    answer = rig.deploy(bad)
    assert answer.code == 1 and answer.result["failure"]["metric"] == "process"
    assert rig.supervisor.verbs().count("select") == selects
    assert rig.status()["healthy"] and rig.status()["quarantined"] == [bad]


def test_a_candidate_that_is_too_slow_never_drives(rig: Rig) -> None:
    one, slow = rig.publish("1.0.0"), rig.publish("1.2.0", {"p99_ms": 900.0})
    rig.deploy(one)
    answer = rig.deploy(slow)
    assert answer.code == 1 and answer.result["failure"]["metric"] == "inference_p99_ms"
    assert answer.result["gates"][0]["verdict"] == "unhealthy"
    assert rig.status()["running"]["digest"] == one


def test_non_finite_actions_on_probation_bring_the_old_release_back(rig: Rig) -> None:
    one, bad = rig.publish("1.0.0"), rig.publish("1.2.0", {"non_finite_after_s": 1.5})
    rig.deploy(one)
    answer = rig.deploy(bad, "--probation", "4")
    assert answer.code == 1 and answer.result["failure"]["metric"] == "non_finite"
    assert rig.status()["running"]["digest"] == one


def test_without_a_commit_before_the_deadline_the_old_release_comes_back(any_rig: Rig) -> None:
    rig = any_rig
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    answer = rig.deploy(two, "--commit", "wait", "--deadline", "1")
    assert answer.code == 0 and answer.result["stage"] == "PROBATION"
    assert rig.run("stage", one).code == 6
    rig.until(lambda: rig.status()["stage"] == "IDLE", "the deadline passed")
    status = rig.status()
    assert status["running"]["digest"] == one and status["failure"]["metric"] == "commit"
    assert status["quarantined"] == []


def test_a_commit_in_time_makes_it_permanent(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")
    assert rig.status()["current"]["digest"] == one and rig.status()["running"]["digest"] == two
    assert not rig.run("switch", two).result["changed"]
    answer = rig.run("commit", two)
    assert answer.code == 0 and answer.result["stage"] == "COMMIT"
    assert rig.status()["current"]["digest"] == two
    assert not rig.run("commit", two).result["changed"]
    assert rig.run("commit", one).code == 5


def test_the_claim_lasts_as_long_as_a_wait_for_the_robot_and_a_trial_together(rig: Rig) -> None:
    deadline_s = 4000.0
    began = time.monotonic()
    assert rig.deploy(rig.publish("1.0.0"), "--commit", "wait", "--deadline", str(deadline_s)).code == 0
    claim = json.loads(rig.layout.claim.read_bytes())
    assert claim["until_ns"] / 1e9 > began + 2 * deadline_s, "it may have waited as long before"


def test_a_rollback_during_the_trial_is_hot_and_quarantines_nothing(any_rig: Rig) -> None:
    rig = any_rig
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")
    pid = rig.processes()["a"]
    answer = rig.run("rollback")
    assert answer.code == 0 and answer.result["release"] == one
    assert rig.processes()["a"] == pid
    status = rig.status()
    assert status["healthy"] and status["quarantined"] == [] and status["failure"] is None


def test_a_rollback_during_the_trial_goes_to_where_it_was_asked_to(rig: Rig) -> None:
    one, two, three = (rig.publish(f"1.{number}.0") for number in range(3))
    for release in (one, two):
        rig.deploy(release)
    rig.deploy(three, "--commit", "wait", "--deadline", "60")
    assert rig.run("rollback", "--to", three).code == 5, "it was never committed"
    assert rig.status()["running"]["digest"] == three, "and nothing stopped for that"
    answer = rig.run("rollback", "--to", "fallback")
    assert answer.code == 0 and answer.result["release"] == one, answer.document
    status = rig.status()
    assert status["running"]["digest"] == status["current"]["digest"] == one and status["stage"] == "IDLE"


def test_rollback_works_with_the_source_moved_away_and_is_reversible(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two)
    rig.source.rename(rig.source.with_name("away"))
    answer = rig.run("rollback")
    assert answer.code == 0, answer.document
    assert (answer.result["release"], answer.result["bytes_fetched"], answer.result["engines_built"]) == (one, 0, 0)
    assert rig.status()["running"]["digest"] == one and rig.status()["previous"]["digest"] == two
    assert rig.supervisor.holders == {}
    assert rig.run("rollback").result["release"] == two
    assert rig.run("rollback", "--to", "fallback").result["release"] == one


def test_rollback_to_what_is_not_complete_is_refused_before_anything_stops(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    assert rig.run("rollback").code == 5
    rig.deploy(one)
    rig.deploy(two)
    (rig.layout.root / "previous" / "engine" / "ready").unlink()
    pids = rig.processes()
    answer = rig.run("rollback")
    assert answer.code == 5 and "engine/ready" in answer.message
    assert rig.processes() == pids
    assert rig.run("rollback", "--to", "pilot:1.0.0").code == 2


def test_a_robot_that_moves_or_has_no_battery_is_not_switched(rig: Rig) -> None:
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.supervisor.linear = 0.4
    answer = rig.deploy(two, "--deadline", "0.3")
    assert answer.code == 5 and "moves" in answer.message
    rig.supervisor.battery = 0.05
    answer = rig.run("switch", two, "--deadline", "0.3", "--gate", "moving")
    assert answer.code == 5 and "battery" in answer.message
    rig.supervisor.battery = 0.9
    rig.supervisor.latched = ["estop"]
    assert "e-stop" in rig.run("switch", two, "--deadline", "0.3", "--gate", "moving").message
    rig.supervisor.latched = []
    assert rig.status()["quarantined"] == []
    assert rig.run("switch", two, "--gate", "moving").code == 0


def test_a_model_with_arms_is_staged_and_never_switched(rig: Rig) -> None:
    answer = rig.deploy(rig.publish("1.0.0", space="joint_velocity"))
    assert answer.code == 5 and "it commands joint_velocity, and robots of this version" in answer.message


def test_the_agent_killed_on_probation_comes_back_on_the_old_release(any_rig: Rig) -> None:
    rig = any_rig
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")
    old = rig.processes()["a"]
    rig.stop_agent(kill=True)
    rig.start_agent()
    rig.until(lambda: rig.run("status").code == 0, "the old release drives again")
    status = rig.status()
    assert status["running"]["digest"] == status["current"]["digest"] == one
    assert rig.processes() == {"a": old, "b": None}
    last = rig.journal()[-1]
    assert last["stage"] == "FAILED" and last["detail"]["failure"]["metric"] == "interrupted"
    assert status["quarantined"] == []


def test_slots_outlive_the_agent_and_a_dead_slot_is_started_again(any_rig: Rig) -> None:
    rig = any_rig
    rig.deploy(rig.publish("1.0.0"))
    pid = rig.processes()["a"]
    rig.stop_agent()
    assert pid is not None and Path(f"/proc/{pid}").exists()
    rig.start_agent()
    assert rig.processes()["a"] == pid
    os.kill(pid, 9)
    rig.until(lambda: rig.run("status").code == 0 and rig.processes()["a"] != pid, "the slot runs again")


def test_a_policy_that_ends_before_it_is_seen_is_blamed_as_one_that_is_seen_to_end(any_rig: Rig) -> None:
    rig = any_rig
    one, bad = rig.publish("1.0.0"), rig.publish("1.2.0", {"die_after_s": 0.0})
    rig.deploy(one)
    answer = rig.deploy(bad)
    assert answer.code == 1 and answer.result["failure"]["metric"] == "process", answer
    assert rig.status()["running"]["digest"] == one and rig.status()["quarantined"] == [bad]
