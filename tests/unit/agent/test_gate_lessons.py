"""What bit others, as far as it is a gate's matter: each test names the lesson and where it was learned."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from model_registry.core.digest import Digest
from stack.agent.cli.output import status_lines
from stack.agent.gate.baseline import Baseline, faults_of
from stack.agent.gate.judge import blames
from stack.agent.gate.samples import SlotSample
from stack.agent.gate.watch import Patience, Watch
from stack.agent.machine.processes import ProcessId
from stack.agent.reports import Failure
from tests.fakes.gate import (
    EXPECTED,
    GOOD,
    NOTHING,
    OLD,
    RELEASE,
    SHADOW,
    STATUS,
    after,
    failing,
    verdict_on,
    with_beside,
    with_slot,
)
from tests.fakes.rig import Rig

BLIND = {"camera_front": None, "scan": 50.0}
DRIVING = Patience(30.0, 37.0, grace_s=2.0, strict=True)


def blind(seconds: float) -> SlotSample:
    """A camera that is silent, for both slots, so that nobody has an action to give."""
    sample = with_beside(after(seconds, source_ages_ms=BLIND), source_ages_ms=BLIND)
    return with_slot(sample, selectable=False, run=0, refusal="only 0 of 20 usable actions in a row")


def test_a_policy_that_loads_for_half_a_minute_is_asked_again() -> None:
    """Gate asked once while the policy was still loading: pollen-robotics/microduck#196, #197."""
    watch = Watch(SHADOW, Patience(2.0, 62.0), NOTHING, replace(GOOD, status=None))
    assert all(watch.feed(replace(after(second / 2), status=None)) is None for second in range(20))
    assert all(watch.feed(after(second / 2, state="warming")) is None for second in range(20, 70))
    results = [watch.feed(after(35.0 + tenth / 10)) for tenth in range(30)]
    assert next(result for result in results if result is not None).verdict == "healthy"


@pytest.mark.parametrize("metric", ["camera_front", "scan", "temperature_c"])
def test_a_hardware_fault_from_before_is_not_the_releases(metric: str) -> None:
    """Hardware fault read as release fault: pollen-robotics/microduck#112, #10."""
    broken = (
        after(1.0, machine={"temperature_c": 99.0})
        if metric == "temperature_c"
        else after(1.0, source_ages_ms={**STATUS.source_ages_ms, metric: 5000.0})
    )
    before = Baseline(faults=faults_of(broken, "a"))
    assert before.faults == {metric}
    result = verdict_on(broken, baseline=before).result
    assert result.verdict == "degraded-hw" and result.passed
    assert not verdict_on(broken).result.passed


def test_a_shadow_that_takes_the_drivers_ticks_is_turned_off_and_blamed_for_nothing() -> None:
    watch = Watch(SHADOW, Patience(60.0, 60.0), NOTHING, GOOD)
    assert watch.feed(with_beside(after(4.0, state="warming"), missed=20)) is None, "a busy moment, while it loads"
    result = watch.feed(with_beside(after(6.0, state="warming"), missed=20))
    assert result is not None and result.verdict == "unreachable" and not blames(result)
    assert [(check.metric, check.value) for check in result.checks] == [("driver_missed_rate", 0.1667)]


def test_a_driver_that_missed_ticks_before_and_one_that_is_on_its_way_out_turn_no_shadow_off() -> None:
    suffering = with_beside(after(6.0), missed=20)
    for expected, baseline in ((SHADOW, Baseline(missed_rate=0.1)), (EXPECTED, NOTHING)):
        watch = Watch(expected, Patience(60.0, 60.0), baseline, GOOD)
        assert watch.feed(suffering) is None


def test_a_shadow_that_takes_the_drivers_ticks_late_is_found_as_soon() -> None:
    watch = Watch(SHADOW, Patience(600.0, 600.0), NOTHING, GOOD)
    missed = {float(second): max(0, second - 120) * 4 for second in range(1, 136)}
    ended = [at for at, count in missed.items() if watch.feed(with_beside(after(at, state="warming"), missed=count))]
    assert 120 < ended[0] < 132


def test_what_a_blind_robot_cannot_show_is_held_against_nobody() -> None:
    """Hardware fault read as release fault: pollen-robotics/microduck#112, #10.

    Nothing can be proved, so nothing passes either.
    """
    before = Baseline(faults=frozenset({"camera_front"}))
    watch = Watch(SHADOW, Patience(2.0, 20.0), before, GOOD)
    result = next(found for second in range(30) if (found := watch.feed(blind(float(second)))) is not None)
    assert result.verdict == "unreachable" and not blames(result)


@pytest.mark.parametrize(("age_ms", "passes"), [(60.0, True), (900.0, True), (1249.0, True), (1251.0, False)])
def test_a_stall_is_25_periods_and_not_a_late_message(age_ms: float, passes: bool) -> None:
    """60 ms stall threshold tripped by jitter: pollen-robotics/microduck#2."""
    assert verdict_on(with_slot(after(2.0), age_ms=age_ms), EXPECTED).result.passed is passes


def test_a_slot_that_works_at_a_low_rate_stalls_no_sooner_than_half_a_second() -> None:
    """60 ms stall threshold tripped by jitter: pollen-robotics/microduck#2."""
    fast = with_slot(after(0.5, control_hz=100.0), age_ms=400.0)
    assert "stall_ms" not in failing(verdict_on(fast, EXPECTED))
    assert "stall_ms" in failing(verdict_on(with_slot(fast, age_ms=501.0), EXPECTED))


def test_without_a_command_it_says_what_it_was_judged_by() -> None:
    """No traffic, and the gate passes by accident or fails: fluxcd/flagger#1035, #1581, #1801."""
    idle = with_beside(after(5.0, inferences=100), inferences=100)
    result = verdict_on(idle).result
    check = next(check for check in result.checks if check.metric == "inferences")
    assert result.passed and check.value == 0.0 and "nothing was asked of it" in check.text


def test_where_the_other_slot_has_work_and_it_does_none_it_fails() -> None:
    """No traffic, and the gate passes by accident or fails: fluxcd/flagger#1035, #1581, #1801."""
    judgement = verdict_on(after(5.0, inferences=100))
    assert judgement.result.verdict == "unhealthy" and failing(judgement) == ["inferences"]


def test_an_idle_robot_whose_slot_says_nothing_never_passes() -> None:
    """No traffic, and the gate passes by accident or fails: fluxcd/flagger#1035, #1581, #1801."""
    quiet = with_slot(with_beside(after(5.0, inferences=100), inferences=100), actions=100)
    assert failing(verdict_on(quiet)) == ["control_hz"]


def test_a_silent_robot_does_not_hang_the_gate_for_ever() -> None:
    """A silent device hangs the rollout for ever: eclipse-hawkbit/hawkbit#693."""
    silent = SlotSample(0.0, GOOD.process, None, None)
    for expected, patience in ((SHADOW, Patience(2.0, 62.0)), (EXPECTED, DRIVING)):
        watch = Watch(expected, patience, NOTHING, silent)
        ends = (watch.feed(replace(silent, at_s=float(second))) for second in range(1, 80))
        result = next(found for found in ends if found is not None)
        assert result.verdict == "unreachable" and not blames(result)


def test_the_status_of_another_process_is_no_status() -> None:
    """Restart scheduled, taken for restarted; the old binary goes on: pollen-robotics/microduck#65."""
    mine = replace(STATUS, monotonic_ns=time.monotonic_ns())
    assert mine.belongs_to(ProcessId(7, 70, "boot"))
    assert not mine.belongs_to(ProcessId(8, 70, "boot")) and not mine.belongs_to(ProcessId(7, 71, "boot"))
    assert not mine.belongs_to(None)
    assert not replace(mine, monotonic_ns=time.monotonic_ns() - 3 * 10**9).belongs_to(ProcessId(7, 70, "boot"))


def test_what_comes_back_must_be_the_old_release_itself() -> None:
    """Rollback re-created the candidate and recorded success: CodesWhat/drydock#1020."""
    restore = replace(SHADOW, gate="restore", release=replace(SHADOW.release, digest=OLD))
    judgement = verdict_on(after(1.0), restore)
    assert judgement.fatal and judgement.result.checks[0].metric == "release"
    assert str(OLD) in judgement.result.checks[0].text


def test_a_failure_has_metric_value_and_threshold() -> None:
    """Why did it roll back, without a value: fluxcd/flagger#1810, #1815; balena-os/meta-balena#1918."""
    failure = Failure.of_gate(RELEASE, "PROBATION", verdict_on(after(1.0, memory_bytes=2 << 30)).result)
    assert (failure.metric, failure.value, failure.threshold) == ("memory_bytes", float(2 << 30), float(1 << 30))


def test_a_commit_needs_a_process_that_says_so(rig: Rig) -> None:
    """Success recorded before the new version runs: eclipse-hawkbit/hawkbit#3185."""
    silent = rig.root / "silent"
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0", {"silent_file": str(silent)})
    rig.deploy(one)
    rig.deploy(two, "--commit", "wait", "--deadline", "60")
    rig.supervisor.hears.add("b")
    silent.touch()
    rig.until(lambda: not rig.status()["slots"]["b"]["verified"], "its status to be old")
    answer = rig.run("commit", two)
    assert answer.code == 1 and "does not say that it runs" in answer.message, answer.document
    status = rig.status()
    assert status["current"]["digest"] == one and status["running"]["digest"] == one


def test_a_rollback_to_what_was_broken_before_says_both_and_holds(rig: Rig) -> None:
    """Rollback target already broken before the update: aws-greengrass-nucleus#646; the second failure hid the first:
    mowglinext#697.
    """
    broken = rig.root / "broken"
    one, bad = rig.publish("1.0.0", {"fail_file": str(broken)}), rig.publish("1.2.0")
    rig.deploy(one)
    broken.touch()
    rig.until(lambda: rig.status()["slots"]["a"]["state"] == "failed", "the old release to fail")
    rig.supervisor.revert_after_s[bad] = 0.2
    answer = rig.deploy(bad, "--gate", "moving")
    assert answer.code == 1
    status = rig.status()
    assert (status["failure"]["metric"], status["failure"]["value"], status["failure"]["threshold"]) == (
        "limited",
        31.0,
        10.0,
    )
    assert status["restore_failure"]["release"] == one and status["restore_failure"]["stage"] in (
        "ROLLBACK",
        "VERIFY_ROLLBACK",
    )
    assert "was not healthy before the switch either" in status["restore_failure"]["message"]
    assert "homeport-agent" in rig.supervisor.holders
    text = "\n".join(status_lines(status))
    assert "limited (value 31, threshold 10)" in text and "then" in text and "not healthy before" in text


def test_the_log_of_the_failure_is_from_before_the_way_back(rig: Rig) -> None:
    """A chatty installer pushed out the lines one needs: pollen-robotics/microduck#9."""
    one, bad = rig.publish("1.0.0"), rig.publish("1.2.0", {"die_after_s": 0.3, "chatter": 250, "progress": 250})
    rig.deploy(one)
    assert rig.deploy(bad).code == 1
    log = rig.status()["log"]
    assert log[-1] == "error: the model exploded" and "Building." not in log
    assert "error: the model exploded" in "\n".join(status_lines(rig.status()))


def test_the_baseline_is_in_the_journal_before_the_switch(rig: Rig) -> None:
    """Compare with before: aws-greengrass-nucleus#646, pollen-robotics/microduck#112."""
    one, two = rig.publish("1.0.0"), rig.publish("1.1.0")
    rig.supervisor.faults["scan"] = "stale"
    rig.deploy(one)
    rig.deploy(two)
    switches = [each for each in rig.journal() if (each["stage"], each["phase"]) == ("SWITCH", "intent")]
    first, second = (each["detail"]["baseline"] for each in switches)
    assert first["release"] is None and first["faults"] == ["scan"]
    assert second["release"] == one and second["healthy"] is True and second["faults"] == ["scan"]
    assert second["p99_ms"] == 2.0 and second["memory_bytes"] == 1 << 20 and second["temperature_c"] == 50.0
    assert json.dumps(second) and Digest.parse(second["release"])
