"""What a slot's own status and the supervisor's view say about a release: pure judgement of one sample.

Two kinds of checks. *Fatal* ones end a gate at once: the process died, another digest runs than expected, a non-finite action, the supervisor went
back. The others must hold in a row for some time before a deadline, so that a slow start or a busy moment condemns nobody. No data never passes.
A source that was faulty before the switch is the robot's fault, not the release's: degraded-hw.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.release import Release
from stack.agent.host import Host
from stack.agent.reports import Check, GateResult
from stack.agent.runtime import Identity
from stack.agent.slots import FRESH_S, SlotStatus, read_status
from stack.agent.supervisor import SlotView, View

RUN = 20
MISSED_RATE = 0.1
LIMITED_RATE = 0.25
CLAMPED_RATE = 0.05
SOURCE_AGE_MS = 1000.0
_AGED_SOURCES = ("camera", "scan")
_MIN_PERIODS = 10


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be found in a slot: digests, and the budgets of the release (ms, bytes)."""

    gate: str
    slot: str
    release: Digest
    model: Digest
    engine: str | None
    p99_ms: float
    memory_bytes: int
    switched_ns: int | None = None
    """When it was selected; None while it only shadows."""

    @classmethod
    def of(cls, gate: str, slot: str, release: Release, engine: str | None, switched_ns: int | None = None) -> Expected:
        budget = release.recipe
        return cls(
            *(gate, slot, release.digest, release.model, engine),
            *(budget.inference_p99_ms, budget.peak_memory_bytes, switched_ns),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything known about one slot at one moment; None is what could not be read."""

    at_s: float
    process: Identity | None
    status: SlotStatus | None
    view: View | None

    def slot(self, name: str) -> SlotView | None:
        return None if self.view is None else self.view.slots[name]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A gate result, and whether it is final."""

    result: GateResult
    fatal: bool


def observe(host: Host, slot: str) -> Sample:
    """Read process, status file and supervisor once. A status that the live process did not write is no status."""
    process = host.runtime.alive(slot)
    status = read_status(host.layout.slot_status(slot))
    own = status if status is not None and status.belongs_to(process) else None
    return Sample(time.monotonic(), process, own, host.supervisor.try_view())


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
        verdict = "unhealthy" if now.status.state == "ready" else "starting"
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
    if view is not None and view.carries(expected.release):
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
    pairs = (
        ("release", status.release, str(expected.release)),
        ("model", status.model, str(expected.model)),
        ("engine", status.engine, expected.engine),
    )
    for name, found, wanted in pairs:
        yield Check(name, None, None, found == wanted, f"runs {name} {found}, expected {wanted}")


def _driver(expected: Expected, switched_ns: int, view: View) -> Iterator[Check]:
    back = view.reverted
    if back is not None and back.monotonic_ns >= switched_ns and back.release == str(expected.release):
        yield Check(back.metric, back.value, back.threshold, False, f"the supervisor went back: {back.reason}")
    drives = view.drives(expected.slot, expected.release)
    text = f"slot {view.selected_slot} with {view.selected_release} drives, expected slot {expected.slot}"
    yield Check("selected", None, None, drives, text)


def _presence(expected: Expected, now: Sample) -> Iterator[Check]:
    """The minimal gate: it runs, says so, and may drive."""
    fresh = now.status is not None
    words = "reports" if fresh else "reported nothing"
    yield Check("status", float(fresh), 1.0, fresh, f"the process {words} (within {FRESH_S:.0f} s)")
    ready = now.status is not None and now.status.state == "ready"
    yield Check("ready", float(ready), 1.0, ready, f"the policy is {now.status.state if now.status else 'silent'}")
    view = now.slot(expected.slot)
    if view is None:
        yield Check("supervisor", 0.0, 1.0, False, "the supervisor does not answer")
        return
    selectable = view.selectable and view.carries(expected.release)
    reason = view.refusal or f"its actions carry {view.release}"
    text = "the supervisor would select it" if selectable else f"the supervisor would not select it: {reason}"
    yield Check("selectable", float(view.run), float(RUN), selectable, text)


def _performance(expected: Expected, first: Sample, now: Sample) -> Iterator[Check]:
    status = now.status
    if status is None:
        return
    budget = expected.p99_ms
    p99_ok = status.p99_ms is not None and status.p99_ms <= budget
    yield Check(
        "inference_p99_ms", status.p99_ms, budget, p99_ok, f"inference p99 {status.p99_ms} ms, budget {budget} ms"
    )
    fits = status.memory_bytes <= expected.memory_bytes
    text = f"{status.memory_bytes >> 20} MiB used, budget {expected.memory_bytes >> 20} MiB"
    yield Check("memory_bytes", float(status.memory_bytes), float(expected.memory_bytes), fits, text)
    for name in _AGED_SOURCES:
        age = status.source_ages_ms.get(name)
        yield Check(f"source_{name}", age, SOURCE_AGE_MS, _source_ok(age), f"{name} is {_age_text(age)} old")
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


def _age_text(age_ms: float | None) -> str:
    return "never heard, so infinitely" if age_ms is None else f"{age_ms:.0f} ms"
