"""A quick selection of the bench `false_rollback`: traces that are the same every time, through the agent's gate."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from model_registry.core.digest import Digest
from stack.agent.gate.samples import SlotSample
from stack.agent.supervisor import Reverted
from tests.fakes.gate import RECIPE, RELEASE, SHADOW, after, with_slot
from tests.testbed.traces import (
    LATENCY_RISE,
    Trace,
    asked_once,
    bent,
    cold_cache,
    configuration_digest,
    judged,
    never_silent,
)

READY_AT_S, SWITCHED_AT_S = 6.0, 9.0


def good(bend: Callable[[SlotSample], SlotSample] = lambda sample: sample) -> Trace:
    """A release that loads for six seconds, shadows for three and then drives; `bend` is done to it while it drives."""
    release = replace(SHADOW.release, recipe=replace(RECIPE, latency_rise=LATENCY_RISE))
    samples = []
    for number in range(720):
        sample = after(number / 10, **({} if number / 10 >= READY_AT_S else {"state": "warming"}))
        assert sample.view is not None
        if number / 10 < SWITCHED_AT_S:
            view = replace(sample.view, selected_slot="b", selected_release=str(Digest.of(b"old release")))
            sample = replace(sample, view=view)
        samples.append(bend(sample) if number / 10 >= SWITCHED_AT_S else sample)
    before = [after(-3.0 + number / 10) for number in range(20)]
    return Trace(replace(SHADOW, release=release), tuple(before), tuple(samples), SWITCHED_AT_S)


def since(at_s: float, **fields: object) -> Callable[[SlotSample], SlotSample]:
    """Fields of its status from a moment on."""

    def bend(sample: SlotSample) -> SlotSample:
        assert sample.status is not None
        return replace(sample, status=replace(sample.status, **fields)) if sample.at_s >= at_s else sample

    return bend


def missing_half(sample: SlotSample) -> SlotSample:
    assert sample.status is not None
    return replace(sample, status=replace(sample.status, missed=int(10 * (sample.at_s - SWITCHED_AT_S))))


def reverted(sample: SlotSample) -> SlotSample:
    assert sample.view is not None
    back = Reverted(str(RELEASE), "SILENCE", "silence_ms", 120.0, 100.0, int(15e9))
    return replace(sample, view=replace(sample.view, reverted=back)) if sample.at_s >= 15.0 else sample


def test_a_good_release_passes() -> None:
    outcome = judged(good())
    assert outcome.result.verdict == "healthy" and outcome.result.gate == "probation"


@pytest.mark.parametrize("seed", range(40))
def test_no_good_release_is_taken_back_for_what_the_robot_does(seed: int) -> None:
    names, trace = bent(good(), seed)
    result = judged(trace).result
    assert result.passed, (names, result.verdict, result.checks[:2])


@pytest.mark.parametrize("hz", [4.0, 15.0, 30.0])
def test_slow_inferences_leave_the_p99_after_200_of_them_however_often_it_infers(hz: float) -> None:
    def infers(sample: SlotSample) -> SlotSample:
        assert sample.status is not None
        return replace(sample, status=replace(sample.status, inferences=int(hz * sample.at_s)))

    trace = good()
    bent = cold_cache(replace(trace, samples=tuple(map(infers, trace.samples))), random.Random(7))
    slow = [each for each in bent.samples if each.status and each.status.p99_ms > trace.expected.budget_ms]
    assert slow[-1].at_s - slow[0].at_s == pytest.approx(200 / hz, abs=1.5 / hz + 0.2)


@pytest.mark.parametrize(
    ("bend", "metric", "within_s"),
    [
        (since(15.0, state="failed", error="out of memory"), "state", 1.0),
        (lambda sample: replace(sample, process=None, status=None) if sample.at_s >= 15.0 else sample, "process", 1.0),
        (since(15.0, non_finite=1), "non_finite", 1.0),
        (reverted, "silence_ms", 1.0),
        (lambda sample: with_slot(sample, age_ms=1300.0) if sample.at_s >= 15.0 else sample, "stall_ms", 1.0),
        (since(9.0, p50_ms=9.6, p99_ms=12.0), "latency_rise", 60.0),
        (since(9.0, p99_ms=60.0), "inference_p99_ms", 30.0),
        (missing_half, "missed_rate", 10.0),
    ],
)
def test_the_same_gate_finds_a_bad_one(bend: Callable[[SlotSample], SlotSample], metric: str, within_s: float) -> None:
    outcome = judged(good(bend))
    assert outcome.result.verdict == "unhealthy" and outcome.result.checks[0].metric == metric
    assert outcome.at_s <= (15.0 if within_s <= 1.0 else SWITCHED_AT_S) + within_s


def test_gates_that_ask_once_or_take_jitter_for_a_stall_condemn_good_releases() -> None:
    traces = [bent(good(), seed)[1] for seed in range(40)]
    assert sum(not asked_once(trace) for trace in traces) > 5
    assert sum(not never_silent(trace) for trace in traces) > 5


def test_the_configuration_has_one_digest() -> None:
    assert configuration_digest() == configuration_digest() and len(configuration_digest()) == 12
