"""What holds for every gate, whatever the samples are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from model_registry.core.digest import Digest
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.judge import blames
from stack.agent.gate.samples import SlotSample
from stack.agent.gate.watch import Patience, Watch
from tests.fakes.gate import EXPECTED, GOOD, NOTHING, SHADOW, after, failing, verdict_on, with_beside, with_slot

PATIENCES = ((SHADOW, Patience(2.0, 20.0)), (EXPECTED, Patience(10.0, 17.0, grace_s=2.0, strict=True)))
AGES = st.one_of(st.none(), st.floats(0.0, 1e6))
FIGURES = st.fixed_dictionaries(
    {},
    optional={
        "p50_ms": st.one_of(st.none(), st.floats(0.0, 1e4)),
        "p99_ms": st.one_of(st.none(), st.floats(0.0, 1e4)),
        "missed": st.integers(0, 500),
        "memory_bytes": st.integers(0, 1 << 33),
        "state": st.sampled_from(("starting", "warming", "ready", "ready", "stopping")),
        "inferences": st.integers(100, 2000),
        "machine": st.dictionaries(st.sampled_from(("temperature_c", "throttled", "pressure_percent")), AGES),
    },
)


@st.composite
def samples(draw: st.DrawFn, at_s: float) -> SlotSample:
    """Anything that may be seen at a moment, short of what ends a gate at once."""
    ages = draw(st.fixed_dictionaries({"camera_front": AGES, "scan": AGES}))
    sample = after(at_s, source_ages_ms=ages, **draw(FIGURES))
    if draw(st.booleans()):
        sample = with_slot(sample, selectable=draw(st.booleans()), limited=draw(st.integers(0, 300)))
    if draw(st.integers(0, 5)) == 0:
        sample = replace(sample, beside=None)
    return sample


@settings(max_examples=60)
@given(st.data(), st.sampled_from(("status", "view", "p99", "proof")))
def test_no_data_never_passes(data: st.DataObject, missing: str) -> None:
    for expected, patience in PATIENCES:
        if missing == "proof":
            expected = replace(expected, proof=None)
        watch, result = Watch(expected, patience, NOTHING, GOOD), None
        for number in range(1, 60):
            sample = data.draw(samples(number / 2))
            if missing in ("status", "view"):
                sample = replace(sample, **{missing: None})
            elif missing == "p99" and sample.status is not None:
                sample = replace(sample, status=replace(sample.status, p99_ms=None))
            result = watch.feed(sample)
            if result is not None:
                break
        assert result is not None and not result.passed


@settings(max_examples=100)
@given(
    st.sets(st.sampled_from(("camera_front", "scan", "temperature_c")), min_size=1),
    st.booleans(),
    st.floats(1001.0, 1e6),
    st.floats(95.1, 200.0),
)
def test_a_fault_of_the_baseline_never_blames_the_release(
    faults: set[str], selectable: bool, age_ms: float, heat: float
) -> None:
    ages = {name: age_ms if name in faults else 20.0 for name in ("camera_front", "scan")}
    machine = {"temperature_c": heat if "temperature_c" in faults else 40.0}
    blind = bool(faults & {"camera_front", "scan"})
    for expected, patience in PATIENCES:
        watch, result = Watch(expected, patience, Baseline(faults=frozenset(faults)), GOOD), None
        for number in range(1, 60):
            sample = with_beside(after(number / 2, source_ages_ms=ages, machine=machine), source_ages_ms=ages)
            sample = with_slot(sample, selectable=selectable or not blind, run=0)
            result = result or watch.feed(sample)
        assert result is not None and not blames(result)
        assert result.passed is (selectable or not blind)


@settings(max_examples=100)
@given(
    st.fixed_dictionaries({name: st.booleans() for name in ("release", "model", "engine", "image")}),
    st.sampled_from(("other", None)),
)
def test_healthy_needs_the_right_digests(right: dict[str, bool], wrong: str | None) -> None:
    bad = {name: wrong and str(Digest.of(wrong.encode())) for name, good in right.items() if not good}
    for expected in (SHADOW, EXPECTED, replace(SHADOW, gate="restore")):
        judgement = verdict_on(after(1.0, **bad), expected)
        assert judgement.result.passed is (not bad)
        assert set(failing(judgement)) == set(bad)


@settings(max_examples=60)
@given(st.data())
def test_every_gate_ends_and_passes_only_on_a_sample_that_passes(data: st.DataObject) -> None:
    for expected, patience in PATIENCES:
        watch = Watch(expected, patience, NOTHING, GOOD)
        for number in range(1, 60):
            sample = data.draw(samples(number / 2))
            if (result := watch.feed(sample)) is not None:
                break
        assert result is not None and sample.at_s <= patience.deadline_s + 0.5
        if result.passed:
            assert all(check.ok for check in result.checks if check.metric in ("status", "ready", "supervisor"))
