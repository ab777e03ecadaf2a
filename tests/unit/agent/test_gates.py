"""The gate's judgement, sample by sample, without a process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model_registry.core.digest import Digest
from model_registry.core.gate import Check, GateResult
from stack.agent.change.permission import blockers
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.evidence import latency_rise
from stack.agent.gate.samples import SlotSample
from stack.agent.gate.watch import Patience, Watch
from stack.agent.reports import Failure
from stack.agent.supervisor import Reverted
from tests.fakes.gate import (
    EXPECTED,
    GOOD,
    NOTHING,
    RECIPE,
    RELEASE,
    SHADOW,
    VIEW,
    after,
    failing,
    verdict_on,
    with_beside,
    with_slot,
)
from tests.fakes.schemas import check


def test_a_good_sample_is_healthy_and_fits_the_schema() -> None:
    judgement = verdict_on(after(1.0), EXPECTED)
    assert judgement.result.verdict == "healthy" and not judgement.fatal
    check(judgement.result.document(), "gate")


@pytest.mark.parametrize(
    ("sample", "metric"),
    [
        (replace(GOOD, process=None, status=None), "process"),
        (after(1.0, state="failed", error="no engine"), "state"),
        (after(1.0, release=str(Digest.of(b"other"))), "release"),
        (after(1.0, engine="another"), "engine"),
        (after(1.0, model=str(RELEASE)), "model"),
        (after(1.0, image=None), "image"),
        (after(1.0, non_finite=1), "non_finite"),
        (with_slot(after(1.0), non_finite=2), "non_finite"),
        (with_slot(after(3.0), age_ms=1300.0), "stall_ms"),
        (replace(GOOD, view=replace(VIEW, reverted=Reverted(str(RELEASE), "late", "late", 5, 4, 2000))), "late"),
    ],
)
def test_some_facts_end_the_gate_at_once(sample: SlotSample, metric: str) -> None:
    judgement = verdict_on(sample, EXPECTED)
    assert judgement.fatal and judgement.result.verdict == "unhealthy"
    assert Failure.of_gate(RELEASE, "PROBATION", judgement.result).metric == metric


@pytest.mark.parametrize(
    ("sample", "verdict", "metric"),
    [
        (replace(after(1.0), status=None), "unreachable", "status"),
        (replace(after(1.0), view=None), "unreachable", "supervisor"),
        (after(1.0, state="warming"), "starting", "ready"),
        (with_slot(after(1.0), selectable=False, run=3, refusal="3 of 20"), "unhealthy", "selectable"),
        (with_slot(after(1.0), age_ms=1300.0), "unhealthy", "stall_ms"),
        (after(1.0, p50_ms=51.0, p99_ms=55.0), "unhealthy", "inference_p99_ms"),
        (after(1.0, p99_ms=None), "unreachable", "inference_p99_ms"),
        (after(1.0, memory_bytes=2 << 30), "unhealthy", "memory_bytes"),
        (after(1.0, missed=4), "unhealthy", "missed_rate"),
        (with_slot(after(2.0), actions=125), "unhealthy", "control_hz"),
        (after(1.0, source_ages_ms={"camera_front": None, "scan": 50.0}), "unhealthy", "source_camera_front"),
        (after(1.0, inferences=120, clamped=15), "unhealthy", "clamped_rate"),
        (with_slot(after(1.0), actions=140, limited=30), "unhealthy", "limited_rate"),
        (after(3.0, inferences=100), "unhealthy", "inferences"),
        (after(1.0, machine={"temperature_c": 99.0}), "unreachable", "temperature_c"),
        (after(1.0, machine={"throttled": 1.0}), "degraded-hw", "throttled"),
    ],
)
def test_the_rest_may_pass_and_no_data_never_does(sample: SlotSample, verdict: str, metric: str) -> None:
    judgement = verdict_on(sample)
    assert (judgement.result.verdict, judgement.fatal) == (verdict, False)
    assert judgement.result.checks[0].metric == metric and not judgement.result.checks[0].ok


def test_a_supervisor_that_started_again_ends_the_gate_and_blames_nobody() -> None:
    judgement = verdict_on(replace(after(1.0), view=replace(VIEW, selected_slot="b")), EXPECTED)
    assert judgement.fatal and judgement.result.verdict == "unreachable" and failing(judgement) == ["selected"]


def test_an_engine_without_a_proof_never_passes() -> None:
    judgement = verdict_on(after(1.0), replace(SHADOW, proof=None))
    assert judgement.result.verdict == "unreachable" and failing(judgement) == ["parity"]


def test_a_backend_that_is_not_the_first_choice_has_the_budget_it_was_proved_with() -> None:
    proof = GateResult.of("prove", [Check("inference_p99_ms", 80.0, 350.0, True, "")])
    slow = after(1.0, p50_ms=70.0, p99_ms=80.0)
    assert verdict_on(slow, replace(SHADOW, proof=proof)).result.passed
    assert not verdict_on(slow).result.passed


def test_a_reversal_before_this_switch_is_not_held_against_it() -> None:
    old = replace(after(1.0), view=replace(VIEW, reverted=Reverted(str(RELEASE), "late", "late", 5, 4, 500)))
    assert verdict_on(old, EXPECTED).result.passed


def test_the_restored_release_needs_no_budget() -> None:
    restore = replace(SHADOW, gate="restore", proof=None)
    assert verdict_on(after(1.0, p50_ms=900.0, p99_ms=900.0, missed=19), restore).result.passed


def test_a_source_that_fails_for_both_slots_while_the_gate_is_open_is_nothing_to_judge_by() -> None:
    blind = {"camera_front": 4000.0, "scan": 50.0}
    sample = with_beside(after(1.0, source_ages_ms=blind), source_ages_ms=blind)
    assert verdict_on(sample).result.verdict == "unreachable"


def test_a_scan_that_the_model_does_not_need_is_not_missed() -> None:
    ages = {"camera_front": 30.0, "scan": None}
    sample = after(1.0, source_ages_ms=ages, needed=frozenset({"camera_front"}))
    assert verdict_on(sample, SHADOW).result.passed


def test_a_slow_start_passes_once_it_is_healthy_long_enough() -> None:
    watch = Watch(SHADOW, Patience(1.0, 10.0), NOTHING, replace(GOOD, status=None))
    assert watch.feed(replace(after(3.0), status=None)) is None
    assert watch.feed(after(4.0)) is None
    assert watch.feed(after(4.5, state="warming")) is None
    assert watch.feed(after(5.0)) is None
    result = watch.feed(after(6.0))
    assert result is not None and result.verdict == "healthy"


def test_what_is_never_healthy_fails_at_the_deadline() -> None:
    watch = Watch(SHADOW, Patience(1.0, 10.0), NOTHING, GOOD)
    assert watch.feed(after(5.0, state="warming")) is None
    result = watch.feed(after(10.0, state="warming"))
    assert result is not None and result.verdict == "starting"


def test_a_policy_that_is_ready_and_never_healthy_fails_before_the_deadline() -> None:
    watch = Watch(SHADOW, Patience(1.0, 600.0), NOTHING, GOOD)
    assert watch.feed(after(1.0, p50_ms=90.0, p99_ms=90.0)) is None
    result = watch.feed(after(18.0, p50_ms=90.0, p99_ms=90.0))
    assert result is not None and result.verdict == "unhealthy"


def test_a_short_lapse_on_probation_is_forgiven_and_a_long_one_is_not() -> None:
    watch = Watch(EXPECTED, Patience(60.0, 70.0, grace_s=2.0, strict=True), NOTHING, GOOD)
    assert watch.feed(after(1.0)) is None
    assert watch.feed(after(2.0, memory_bytes=2 << 30)) is None
    assert watch.feed(after(3.0)) is None
    assert watch.feed(after(10.0, memory_bytes=2 << 30)) is None
    result = watch.feed(after(12.5, memory_bytes=2 << 30))
    assert result is not None and not result.passed


def test_time_without_a_sample_is_not_time_that_was_good() -> None:
    watch = Watch(EXPECTED, Patience(30.0, 37.0, grace_s=2.0, strict=True), NOTHING, GOOD)
    assert watch.feed(after(1.0)) is None
    assert watch.feed(after(36.0)) is None
    result = watch.feed(after(37.0))
    assert result is not None and result.verdict == "unreachable" and result.checks[0].metric == "healthy_s"


def test_rates_are_those_of_the_last_seconds() -> None:
    """A release that misses ticks after half a minute is found as soon as one that does so at once."""
    watch = Watch(EXPECTED, Patience(60.0, 70.0, grace_s=2.0, strict=True), NOTHING, GOOD)
    assert all(watch.feed(after(second / 2)) is None for second in range(1, 80))
    late = (watch.feed(after(40.0 + tenth / 10, missed=2 * tenth)) for tenth in range(1, 60))
    result = next(result for result in late if result is not None)
    assert result.checks[0].metric == "missed_rate"


def rising(first: float, last: float, **fields: object) -> list[SlotSample]:
    """A sample every half second, in all of which the slot needs 20 % longer than the other one."""
    return [after(tenth / 2, p50_ms=9.6, p99_ms=12.0, **fields) for tenth in range(int(first * 2), int(last * 2))]


def demanding(rise: float | None) -> Watch:
    recipe = replace(RECIPE, latency_rise=rise)
    expected = replace(EXPECTED, release=replace(EXPECTED.release, recipe=recipe))
    before = Baseline(release="old", p50_ms=8.0, p99_ms=10.0, inferences=500)
    return Watch(expected, Patience(30.0, 67.0, grace_s=2.0, strict=True), before, GOOD)


def test_a_release_that_may_not_be_slower_is_found_within_a_minute() -> None:
    watch = demanding(0.1)
    results = [(sample.at_s, watch.feed(sample)) for sample in rising(0.5, 60.0)]
    at_s, result = next((at_s, result) for at_s, result in results if result is not None)
    assert result.verdict == "unhealthy" and result.checks[0].metric == "latency_rise"
    assert result.checks[0].value == pytest.approx(0.2) and result.checks[0].threshold == 0.1 and at_s < 45.0


def test_within_the_budget_a_release_that_says_nothing_may_be_slower() -> None:
    watch = demanding(None)
    results = [result for sample in rising(0.5, 40.0) if (result := watch.feed(sample)) is not None]
    assert results[0].verdict == "healthy"


def test_a_busy_machine_that_slows_both_slots_is_no_rise() -> None:
    watch = demanding(0.1)
    samples = [with_beside(sample, p50_ms=9.5) for sample in rising(0.5, 40.0)]
    assert next(result for sample in samples if (result := watch.feed(sample)) is not None).passed


def test_without_the_old_release_beside_it_the_one_before_counts_on_a_machine_that_is_no_busier() -> None:
    release = replace(EXPECTED.release, recipe=replace(RECIPE, latency_rise=0.1))
    expected, before = replace(EXPECTED, release=release), Baseline(p50_ms=8.0, inferences=500, pressure_percent=5.0)
    slow = [after(20.0, p50_ms=9.6, machine={"pressure_percent": busy}) for busy in (6.0, 60.0, None)]
    found = [latency_rise(expected, replace(sample, beside=None), before) for sample in slow]
    assert found == [pytest.approx(0.2), None, None]


def test_the_robot_gate_fails_closed() -> None:
    assert blockers(VIEW, "idle", 0.2, True) == []
    assert blockers(replace(VIEW, linear=0.3), "moving", 0.2, True) == []
    assert "moves" in blockers(replace(VIEW, linear=0.3), "idle", 0.2, True)[0]
    assert blockers(replace(VIEW, battery=None), "idle", 0.2, True) == ["its battery is unknown"]
    assert blockers(replace(VIEW, battery=None), "idle", 0.2, False) == []
    assert blockers(replace(VIEW, latched=("estop",)), "moving", 0.2, True) == ["its e-stop is latched"]


@pytest.mark.parametrize(
    ("source", "gate", "reason"),
    [
        ("odom", "idle", "its speed is unknown, odometry is not to be trusted"),
        ("battery", "idle", "its battery is unknown"),
        ("battery", "moving", "its battery is unknown"),
        ("estop", "moving", "its e-stop is not heard"),
    ],
)
def test_what_a_silent_source_has_said_last_opens_no_gate(source: str, gate: str, reason: str) -> None:
    assert blockers(replace(VIEW, faulty_sources=frozenset({source, "scan"})), gate, 0.2, True) == [reason]
