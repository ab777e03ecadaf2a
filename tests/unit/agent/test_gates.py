"""The gate's judgement, sample by sample, without a process."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.release import Release
from stack.agent.gates import Expected, Patience, Watch, faulty_sources, judge
from stack.agent.reports import Failure
from stack.agent.robot_gate import blockers
from stack.agent.runtime import Identity
from stack.agent.slots import Sample, SlotStatus
from stack.agent.supervisor import Reverted, SlotView, View
from tests.fakes.robot import release_fields
from tests.fakes.schemas import check

RELEASE, MODEL = Digest.of(b"release"), Digest.of(b"model")
DOCUMENT = Release.parse(dump(release_fields(MODEL, "1.0.0")))
RECIPE = replace(DOCUMENT.recipe, inference_p99_ms=50.0, peak_memory_bytes=1 << 30)
EXPECTED = Expected("probation", "a", replace(DOCUMENT, digest=RELEASE, recipe=RECIPE), "key", switched_ns=1000)
SHADOW = replace(EXPECTED, gate="shadow", switched_ns=None)
STATUS = SlotStatus(
    pid=7, start_ticks=70, release=str(RELEASE), model=str(MODEL), engine="key", state="ready", error=None,
    control_hz=20.0, inferences=100, clamped=0, p99_ms=10.0, missed=0, non_finite=0, source_ages_ms={"camera": 30.0, "scan": 50.0},
    memory_bytes=1 << 20, monotonic_ns=time.monotonic_ns(),
)  # fmt: skip
SLOT = SlotView(RELEASE.short, 1, 100, 40, True, None, 0, 0)
VIEW = View(
    protocol=1, version="0.1.0", armed=True, latched=(), holders=(), selected_slot="a",
    selected_release=str(RELEASE), reverted=None, slots={"a": SLOT, "b": SLOT}, linear=0.0, angular=0.0, battery=0.9,
    faulty_sources=frozenset(),
)  # fmt: skip
GOOD = Sample(0.0, Identity(7, 70, "boot"), STATUS, VIEW)


def after(seconds: float, **fields: object) -> Sample:
    """A good sample some seconds later, with fields of the slot's status changed."""
    nanoseconds = STATUS.monotonic_ns + int(seconds * 1e9)
    return replace(GOOD, at_s=seconds, status=replace(STATUS, monotonic_ns=nanoseconds, **fields))


def with_slot(sample: Sample, **fields: object) -> Sample:
    return replace(sample, view=replace(VIEW, slots={"a": replace(SLOT, **fields), "b": SLOT}))


def test_a_good_sample_is_healthy_and_fits_the_schema() -> None:
    judgement = judge(EXPECTED, GOOD, after(1.0), frozenset())
    assert judgement.result.verdict == "healthy" and not judgement.fatal
    check(judgement.result.document(), "gate")


@pytest.mark.parametrize(
    ("sample", "metric"),
    [
        (replace(GOOD, process=None, status=None), "process"),
        (after(1.0, state="failed", error="no engine"), "state"),
        (after(1.0, engine="another"), "engine"),
        (after(1.0, model=str(RELEASE)), "model"),
        (after(1.0, non_finite=1), "non_finite"),
        (with_slot(GOOD, non_finite=2), "non_finite"),
        (replace(GOOD, view=replace(VIEW, selected_slot="b")), "selected"),
        (replace(GOOD, view=replace(VIEW, reverted=Reverted(str(RELEASE), "late", "late", 5, 4, 2000))), "late"),
    ],
)
def test_some_facts_end_the_gate_at_once(sample: Sample, metric: str) -> None:
    judgement = judge(EXPECTED, GOOD, sample, frozenset())
    assert judgement.fatal and judgement.result.verdict == "unhealthy"
    assert Failure.of_gate(RELEASE, "PROBATION", judgement.result).metric == metric


@pytest.mark.parametrize(
    ("sample", "verdict", "metric"),
    [
        (replace(GOOD, status=None), "unreachable", "status"),
        (replace(GOOD, view=None), "unreachable", "supervisor"),
        (after(1.0, state="warming"), "starting", "ready"),
        (with_slot(GOOD, selectable=False, run=3, refusal="3 of 20"), "unhealthy", "selectable"),
        (after(1.0, p99_ms=51.0), "unhealthy", "inference_p99_ms"),
        (after(1.0, p99_ms=None), "unhealthy", "inference_p99_ms"),
        (after(1.0, memory_bytes=2 << 30), "unhealthy", "memory_bytes"),
        (after(1.0, missed=4), "unhealthy", "missed_rate"),
        (after(1.0, source_ages_ms={"camera": None, "scan": 50.0}), "unhealthy", "source_camera"),
        (after(1.0, inferences=120, clamped=15), "unhealthy", "clamped_rate"),
        (with_slot(after(1.0), actions=140, limited=30), "unhealthy", "limited_rate"),
    ],
)
def test_the_rest_may_pass_and_no_data_never_does(sample: Sample, verdict: str, metric: str) -> None:
    judgement = judge(SHADOW, GOOD, sample, frozenset())
    assert (judgement.result.verdict, judgement.fatal) == (verdict, False)
    assert not judgement.result.passed and judgement.result.checks[0].metric == metric


def test_a_reversal_before_this_switch_is_not_held_against_it() -> None:
    old = replace(GOOD, view=replace(VIEW, reverted=Reverted(str(RELEASE), "late", "late", 5, 4, 500)))
    assert judge(EXPECTED, GOOD, old, frozenset()).result.passed


def test_a_source_that_was_faulty_before_is_the_robots_fault() -> None:
    blind = after(1.0, source_ages_ms={"camera": None, "scan": 50.0})
    assert faulty_sources(blind) == {"camera"}
    result = judge(SHADOW, GOOD, blind, faulty_sources(blind)).result
    assert result.verdict == "degraded-hw" and result.passed


def test_the_restored_release_needs_no_budget() -> None:
    restore = replace(SHADOW, gate="restore")
    assert judge(restore, GOOD, after(1.0, p99_ms=900.0, missed=19), frozenset()).result.passed


def test_a_slow_start_passes_once_it_is_healthy_long_enough() -> None:
    watch = Watch(SHADOW, Patience(1.0, 10.0), frozenset(), replace(GOOD, process=GOOD.process, status=None))
    assert watch.feed(replace(after(3.0), status=None)) is None
    assert watch.feed(after(4.0)) is None
    assert watch.feed(after(4.5, state="warming")) is None
    assert watch.feed(after(5.0)) is None
    result = watch.feed(after(6.0))
    assert result is not None and result.verdict == "healthy"


def test_what_is_never_healthy_fails_at_the_deadline() -> None:
    watch = Watch(SHADOW, Patience(1.0, 10.0), frozenset(), GOOD)
    assert watch.feed(after(5.0, state="warming")) is None
    result = watch.feed(after(10.0, state="warming"))
    assert result is not None and result.verdict == "starting"


def test_a_policy_that_is_ready_and_never_healthy_fails_before_the_deadline() -> None:
    watch = Watch(SHADOW, Patience(1.0, 600.0), frozenset(), GOOD)
    assert watch.feed(after(1.0, p99_ms=90.0)) is None
    result = watch.feed(after(18.0, p99_ms=90.0))
    assert result is not None and result.verdict == "unhealthy"


def test_a_short_lapse_on_probation_is_forgiven_and_a_long_one_is_not() -> None:
    watch = Watch(EXPECTED, Patience(60.0, 70.0, grace_s=2.0, strict=True), frozenset(), GOOD)
    assert watch.feed(after(1.0)) is None
    assert watch.feed(after(2.0, p99_ms=90.0)) is None
    assert watch.feed(after(3.0)) is None
    assert watch.feed(after(10.0, p99_ms=90.0)) is None
    result = watch.feed(after(12.5, p99_ms=90.0))
    assert result is not None and not result.passed


def test_the_robot_gate_fails_closed() -> None:
    assert blockers(VIEW, "idle", 0.2, True) == []
    assert blockers(replace(VIEW, linear=0.3), "moving", 0.2, True) == []
    assert "moves" in blockers(replace(VIEW, linear=0.3), "idle", 0.2, True)[0]
    assert blockers(replace(VIEW, battery=None), "idle", 0.2, True) == ["its battery is unknown"]
    assert blockers(replace(VIEW, battery=None), "idle", 0.2, False) == []
    assert blockers(replace(VIEW, latched=("estop",)), "moving", 0.2, True) == ["its e-stop is latched"]
