"""What a slot's own status and the supervisor's view say about a release: pure judgement of one sample.

Two kinds of checks. *Fatal* ones end a gate at once: the process died, another digest runs than expected, a non-finite action, the supervisor went
back. The others must hold in a row for some time before a deadline, so that a slow start or a busy moment condemns nobody. No data never passes.
A source that was faulty before the switch is the robot's fault, not the release's: degraded-hw.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Release
from stack.agent.slots import FRESH_S, Sample, SlotStatus
from stack.agent.supervisor import View

POLL_S = 0.1
SETTLE_S = 15.0
RUN = 20
MISSED_RATE = 0.1
LIMITED_RATE = 0.25
CLAMPED_RATE = 0.05
SOURCE_AGE_MS = 1000.0
_AGED_SOURCES = ("camera", "scan")
_MIN_PERIODS = 10


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be found in a slot. `switched_ns` is when it was selected, None while it only shadows."""

    gate: str
    slot: str
    release: Release
    engine: str | None
    switched_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A gate result, and whether it is final."""

    result: GateResult
    fatal: bool


def faulty_sources(sample: Sample) -> frozenset[str]:
    """Sources that are broken now, by the supervisor or by the slot that drives: the baseline before a switch."""
    supervisor = sample.view.faulty_sources if sample.view else frozenset()
    ages = sample.status.source_ages_ms if sample.status else {}
    return supervisor | {name for name in _AGED_SOURCES if name in ages and not _source_ok(ages[name])}


def judge(expected: Expected, first: Sample, now: Sample, baseline: frozenset[str]) -> Judgement:
    """Judge `now`; rates are taken since `first`. `baseline` are the sources that were faulty before."""
    fatal = [check for check in _fatal_checks(expected, first, now) if not check.ok]
    if fatal:
        return Judgement(GateResult(expected.gate, "unhealthy", tuple(fatal)), True)
    checks = [*_presence(expected, now)]
    if expected.gate != "restore":
        checks += _performance(expected, first, now)
    hardware = [check for check in checks if not check.ok and check.metric.removeprefix("source_") in baseline]
    failing = [check for check in checks if not check.ok and check not in hardware]
    if not failing:
        verdict = "degraded-hw" if hardware else "healthy"
    elif now.process is None or now.status is None or now.view is None:
        verdict = "unreachable"
    else:
        verdict = "unhealthy" if now.ready else "starting"
    ordered = (*failing, *(check for check in checks if check not in failing))
    return Judgement(GateResult(expected.gate, verdict, ordered), False)


def _fatal_checks(expected: Expected, first: Sample, now: Sample) -> Iterator[Check]:
    alive = now.process is not None
    yield Check("process", float(alive), 1.0, alive, "the slot's process ended" if not alive else "the process runs")
    if now.status is not None:
        yield from _identity(expected, now.status)
        count = now.status.non_finite
        yield Check("non_finite", float(count), 0.0, count == 0, f"{count} actions were not finite")
    view, before = now.slot(expected.slot), first.slot(expected.slot)
    if view is not None and view.carries(expected.release.digest):
        same = before is not None and before.epoch == view.epoch
        count = view.non_finite - (before.non_finite if before is not None and same else 0)
        yield Check("non_finite", float(count), 0.0, count <= 0, f"the supervisor received {count} non-finite actions")
    if now.view is not None and expected.switched_ns is not None:
        yield from _driver(expected, expected.switched_ns, now.view)


def _identity(expected: Expected, status: SlotStatus) -> Iterator[Check]:
    failed = status.state == "failed"
    yield Check("state", None, None, not failed, f"the policy failed: {status.error}" if failed else status.state)
    if status.state != "ready":
        return
    release = expected.release
    pairs = {"release": (status.release, str(release.digest)), "model": (status.model, str(release.model))}
    for name, (found, wanted) in {**pairs, "engine": (status.engine, expected.engine)}.items():
        yield Check(name, None, None, found == wanted, f"runs {name} {found}, expected {wanted}")


def _driver(expected: Expected, switched_ns: int, view: View) -> Iterator[Check]:
    back = view.reverted
    if back is not None and back.monotonic_ns >= switched_ns and back.release == str(expected.release.digest):
        yield Check(back.metric, back.value, back.threshold, False, f"the supervisor went back: {back.reason}")
    drives = view.drives(expected.slot, expected.release.digest)
    text = f"slot {view.selected_slot} with {view.selected_release} drives, expected slot {expected.slot}"
    yield Check("selected", None, None, drives, text)


def _presence(expected: Expected, now: Sample) -> Iterator[Check]:
    """The minimal gate: it runs, says so, and may drive."""
    fresh = now.status is not None
    words = "reports" if fresh else "reported nothing"
    yield Check("status", float(fresh), 1.0, fresh, f"the process {words} (within {FRESH_S:.0f} s)")
    yield Check(
        "ready", float(now.ready), 1.0, now.ready, f"the policy is {now.status.state if now.status else 'silent'}"
    )
    view = now.slot(expected.slot)
    if view is None:
        yield Check("supervisor", 0.0, 1.0, False, "the supervisor does not answer")
        return
    selectable = view.selectable and view.carries(expected.release.digest)
    reason = view.refusal or f"its actions carry {view.release}"
    text = "the supervisor would select it" if selectable else f"the supervisor would not select it: {reason}"
    yield Check("selectable", float(view.run), float(RUN), selectable, text)


def _performance(expected: Expected, first: Sample, now: Sample) -> Iterator[Check]:
    status = now.status
    if status is None:
        return
    p99, budget = status.p99_ms, expected.release.recipe.inference_p99_ms
    text = f"inference p99 {p99} ms, budget {budget} ms"
    yield Check("inference_p99_ms", p99, budget, p99 is not None and p99 <= budget, text)
    used, most = status.memory_bytes, expected.release.recipe.peak_memory_bytes
    text = f"{used >> 20} MiB used, budget {most >> 20} MiB"
    yield Check("memory_bytes", float(used), float(most), used <= most, text)
    for name in _AGED_SOURCES:
        age = status.source_ages_ms.get(name)
        words = "never heard, so infinitely" if age is None else f"{age:.0f} ms"
        yield Check(f"source_{name}", age, SOURCE_AGE_MS, _source_ok(age), f"{name} is {words} old")
    before = first.status
    if before is not None and before.pid == status.pid:
        periods = (status.monotonic_ns - before.monotonic_ns) / 1e9 * status.control_hz
        yield _rate("missed_rate", status.missed - before.missed, periods, MISSED_RATE, "of control periods missed")
        count, of = status.clamped - before.clamped, status.inferences - before.inferences
        yield _rate("clamped_rate", count, of, CLAMPED_RATE, "of inferences outside the model's own contract")
    view, old = now.slot(expected.slot), first.slot(expected.slot)
    if view is not None and old is not None and view.epoch == old.epoch:
        count = view.actions - old.actions
        yield _rate("limited_rate", view.limited - old.limited, count, LIMITED_RATE, "of actions beyond the limits")


def _rate(metric: str, count: int, of: float, threshold: float, words: str) -> Check:
    """A rate over too few samples says nothing yet; the gate's other checks keep it from passing on nothing."""
    rate = round(count / of, 4) if of >= _MIN_PERIODS else 0.0
    return Check(metric, rate, threshold, rate <= threshold, f"{rate:.1%} {words}, at most {threshold:.0%}")


def _source_ok(age_ms: float | None) -> bool:
    return age_ms is not None and age_ms <= SOURCE_AGE_MS


@dataclass(frozen=True, slots=True)
class Patience:
    """Healthy for `sustain_s` in a row within `deadline_s`, and within 15 s more than that once the policy is ready.

    Lapses up to `grace_s` do not count; a longer one fails if `strict`, else the row starts anew.
    """

    sustain_s: float
    deadline_s: float
    grace_s: float = 0.0
    strict: bool = False


class Watch:
    """The state of one gate between two samples. One for the candidate, the release on probation and what was restored."""

    def __init__(self, expected: Expected, patience: Patience, baseline: frozenset[str], first: Sample) -> None:
        self._expected, self._patience, self._baseline, self._start = expected, patience, baseline, first
        self._deadline = first.at_s + patience.deadline_s
        self._good_since: float | None = None
        self._bad_since: float | None = None
        self._settling = False

    def feed(self, sample: Sample) -> GateResult | None:
        """The final result, or None while it is open."""
        judgement = judge(self._expected, self._start, sample, self._baseline)
        result, now = judgement.result, sample.at_s
        if judgement.fatal:
            return result
        if sample.ready and not self._settling:
            self._settling = True
            self._deadline = min(self._deadline, now + self._patience.sustain_s + SETTLE_S)
        if result.passed:
            self._bad_since = None
            self._good_since = now if self._good_since is None else self._good_since
            return result if now - self._good_since >= self._patience.sustain_s else None
        return result if self._lapsed(sample) or now >= self._deadline else None

    def _lapsed(self, sample: Sample) -> bool:
        """Whether this failing sample ends the gate; the rates are taken anew when the run was broken."""
        self._bad_since = sample.at_s if self._bad_since is None else self._bad_since
        if sample.at_s - self._bad_since < self._patience.grace_s:
            return False
        if not self._patience.strict:
            self._good_since, self._start = None, sample
        return self._patience.strict

    def poll(self, sample: Callable[[], Sample], stop: threading.Event) -> GateResult | None:
        """Feed samples until the gate is decided; None when `stop` was set."""
        while not stop.wait(POLL_S):
            if (result := self.feed(sample())) is not None:
                return result
        return None
