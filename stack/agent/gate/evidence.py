"""The checks of a gate on one slot, and whose matter each failure is.

It is the release's, the robot's, or nobody's because nothing was seen.

Latency is a matter of time: half of the cycles over the budget condemn at once; a p99 over it, or a median that has
risen by more than the release allows itself, only when that lasts longer than the 200 cycles a slot remembers. One busy
second stays in them for all that time.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_registry.core.gate import Check
from stack.agent.gate.baseline import HOT_C, SOURCE_AGE_MS, Baseline, heard_hz, missed_rate, source_ok, temperature_c
from stack.agent.gate.findings import FATAL, LASTING_CYCLES, NO_DATA, RELEASE, ROBOT, Expected, Finding, Span
from stack.agent.gate.samples import FRESH_S, SlotSample, SlotStatus
from stack.agent.supervisor import View

RUN = 20
STALL_PERIODS = 25
STALL_MS = 500.0
MISSED_RATE = 0.1
LIMITED_RATE = 0.25
CLAMPED_RATE = 0.05
HEARD_PART = 0.8
ENOUGH_CYCLES = 100
CROWDED = "driver_missed_rate"
_SAME_PRESSURE = 10.0
_MIN_PERIODS = 10
_CROWDED_PERIODS = 100


def fatal(expected: Expected, span: Span) -> Iterator[Finding]:
    """What ends a gate at once."""
    first = span.first
    now = span.now
    alive = now.process is not None
    yield _fatal("process", float(alive), 1.0, alive, "the slot's process ended" if not alive else "the process runs")
    if now.status is not None:
        yield from _identity(expected, now.status)
        count = now.status.non_finite
        yield _fatal("non_finite", float(count), 0.0, count == 0, f"{count} actions were not finite")
    view = now.slot(expected.slot)
    before = first.slot(expected.slot)
    if view is not None and view.carries(expected.release.digest):
        same = before is not None and before.epoch == view.epoch
        count = view.non_finite - (before.non_finite if before is not None and same else 0)
        yield _fatal("non_finite", float(count), 0.0, count <= 0, f"the supervisor received {count} non-finite actions")
    if now.view is not None and expected.switched_ns is not None:
        yield from _driver(expected, expected.switched_ns, now.view)


def _fatal(metric: str, value: float | None, threshold: float | None, ok: bool, text: str) -> Finding:
    return Finding(FATAL, Check(metric, value, threshold, ok, text))


def _identity(expected: Expected, status: SlotStatus) -> Iterator[Finding]:
    failed = status.state == "failed"
    yield _fatal("state", None, None, not failed, f"the policy failed: {status.error}" if failed else status.state)
    if status.state == "ready":
        wrong = status.unlike(expected.release, expected.engine, expected.image)
        for name, found, wanted in wrong:
            yield _fatal(name, None, None, False, f"runs {name} {found}, expected {wanted}")
        if not wrong:
            yield _fatal("digests", None, None, True, "runs the release, model, engine and image that it should")


def _driver(expected: Expected, switched_ns: int, view: View) -> Iterator[Finding]:
    back = view.reverted
    if back is not None and back.monotonic_ns >= switched_ns and back.release == str(expected.release.digest):
        yield _fatal(back.metric, back.value, back.threshold, False, f"the supervisor went back: {back.reason}")
    drives = view.drives(expected.slot, expected.release.digest)
    text = f"slot {view.selected_slot} with {view.selected_release} drives, expected slot {expected.slot}"
    yield _fatal("selected", None, None, drives, text)


def crowding(expected: Expected, span: Span, baseline: Baseline) -> Iterator[Finding]:
    """A shadow that takes the ticks of the release that drives ends at once.

    That the robot cannot carry both is not held against it.
    """
    before = span.before.beside if span.before else None
    driver = span.now.beside
    if expected.gate != "shadow" or driver is None:
        return
    missed = missed_rate(before, driver, _CROWDED_PERIODS)
    most = max(MISSED_RATE, 2.0 * (baseline.missed_rate or 0.0))
    if missed is not None:
        text = (
            f"{missed:.1%} of control periods missed by the release that drives, at most {most:.0%}; end what else "
            "runs here"
        )
        yield _fatal(CROWDED, missed, most, missed <= most, text)


def presence(expected: Expected, span: Span) -> Iterator[Finding]:
    """The minimal gate: it runs, says so, is heard, and may drive."""
    now = span.now
    status = span.now.status
    words = "reports" if status else "reported nothing"
    text = f"the process {words} (within {FRESH_S:.0f} s)"
    yield Finding(NO_DATA, Check("status", float(status is not None), 1.0, status is not None, text))
    text = f"the policy is {status.state if status else 'silent'}"
    yield Finding(RELEASE if status else NO_DATA, Check("ready", float(now.ready), 1.0, now.ready, text))
    view = now.slot(expected.slot)
    if view is None:
        yield Finding(NO_DATA, Check("supervisor", 0.0, 1.0, False, "the supervisor does not answer"))
        return
    selectable = view.selectable and view.carries(expected.release.digest)
    reason = view.refusal or f"its actions carry {view.release}"
    text = "the supervisor would select it" if selectable else f"the supervisor would not select it: {reason}"
    yield Finding(RELEASE, Check("selectable", float(view.run), float(RUN), selectable, text))
    if status is not None and view.age_ms is not None and view.carries(expected.release.digest):
        longest = max(STALL_MS, STALL_PERIODS * 1e3 / status.control_hz if status.control_hz else 0.0)
        text = f"its last action is {view.age_ms:.0f} ms old"
        kind = RELEASE if expected.switched_ns is None else FATAL
        yield Finding(kind, Check("stall_ms", view.age_ms, longest, view.age_ms < longest, text))


def performance(expected: Expected, span: Span, baseline: Baseline) -> Iterator[Finding]:
    """What is asked of a candidate on top."""
    status = span.now.status
    if status is None:
        return
    yield _parity(expected)
    yield from _latency(expected, span, status, baseline)
    used = status.memory_bytes
    most = expected.release.recipe.peak_memory_bytes
    text = f"{used >> 20} MiB used, budget {most >> 20} MiB"
    yield Finding(RELEASE, Check("memory_bytes", float(used), float(most), used <= most, text))
    yield from _sources(span.now, status, baseline)
    yield from _rates(expected, span, status, baseline)
    yield from _heat(status, baseline)


def _parity(expected: Expected) -> Finding:
    proof = expected.proof
    if proof is None:
        return Finding(
            NO_DATA, Check("parity", None, None, False, "no proof of its engine on this device; stage it again")
        )
    worst = max(
        (each for each in proof.checks if each.metric.startswith("parity")),
        key=lambda each: (each.value or 0.0) / (each.threshold or 1.0),
        default=Check("parity", None, None, proof.passed, "no parity"),
    )
    text = f"its engine proved {proof.verdict} on this device: {worst.text}"
    return Finding(RELEASE, Check("parity", worst.value, worst.threshold, proof.passed, text))


def latency_rise(expected: Expected, now: SlotSample, baseline: Baseline) -> float | None:
    """By which part its median inference is slower than the old release's.

    Compared with the old release now, where that runs beside it, else with the old release before the switch.

    None where the release does not ask, with too few cycles on either side, or when the machine is busier than it was
    before.
    """
    status = now.status
    beside = now.beside
    if expected.release.recipe.latency_rise is None or status is None or status.p50_ms is None:
        return None
    if beside is not None and beside.state == "ready":
        reference = beside.p50_ms
        cycles = beside.inferences
    else:
        busy = status.machine.get("pressure_percent")
        before = baseline.pressure_percent
        alike = busy is not None and before is not None and busy <= before + _SAME_PRESSURE
        reference, cycles = (baseline.p50_ms, baseline.inferences) if alike else (None, 0)
    if not reference or min(cycles, status.inferences) < ENOUGH_CYCLES:
        return None
    return round(status.p50_ms / reference - 1.0, 4)


def over_budget(expected: Expected, now: SlotSample) -> bool:
    """Whether its p99 is over the budget at this moment."""
    return now.status is not None and now.status.p99_ms is not None and now.status.p99_ms > expected.budget_ms


def has_risen(expected: Expected, now: SlotSample, baseline: Baseline) -> bool:
    """Whether it is slower at this moment than the release allows itself."""
    most = expected.release.recipe.latency_rise
    rise = latency_rise(expected, now, baseline)
    return most is not None and rise is not None and rise > most


def _latency(expected: Expected, span: Span, status: SlotStatus, baseline: Baseline) -> Iterator[Finding]:
    p50_ms = status.p50_ms
    p99_ms = status.p99_ms
    budget = expected.budget_ms
    if p50_ms is None or p99_ms is None:
        yield Finding(NO_DATA, Check("inference_p99_ms", p99_ms, budget, False, "no inference was timed yet"))
        return
    ok = p99_ms <= budget or (p50_ms <= budget and not span.lasts(span.slow))
    text = (
        f"inference p99 {p99_ms:.1f} ms (median {p50_ms:.1f}), budget {budget:g} ms; before the switch "
        f"{_told(baseline.p99_ms, 'ms')}"
    )
    yield Finding(RELEASE, Check("inference_p99_ms", p99_ms, budget, ok, text), open=p99_ms > budget)
    if (most := expected.release.recipe.latency_rise) is None:
        return
    rise = latency_rise(expected, span.now, baseline)
    lasts = span.lasts(span.risen)
    text = "no comparison with the old release" if rise is None else f"median {rise:+.0%} against the old release"
    few = 0 < status.inferences < ENOUGH_CYCLES + LASTING_CYCLES and baseline.p50_ms is not None
    check = Check("latency_rise", rise, most, not lasts, f"{text}, at most {most:+.0%}")
    yield Finding(RELEASE, check, open=few or (span.risen is not None and not lasts))


def _sources(now: SlotSample, status: SlotStatus, baseline: Baseline) -> Iterator[Finding]:
    """A source that was broken before is the robot's; one that broke now for both slots is nobody's to judge by."""
    for name in sorted(status.needed):
        age = status.source_ages_ms.get(name)
        both = now.beside is not None and not source_ok(now.beside.source_ages_ms.get(name))
        kind = NO_DATA if both else RELEASE
        if name in baseline.faults:
            kind = ROBOT
        words = "never heard, so infinitely" if age is None else f"{age:.0f} ms"
        yield Finding(kind, Check(f"source_{name}", age, SOURCE_AGE_MS, source_ok(age), f"{name} is {words} old"))


def _rates(expected: Expected, span: Span, status: SlotStatus, baseline: Baseline) -> Iterator[Finding]:
    before = span.first.status
    if before is not None and before.pid == status.pid:
        missed = missed_rate(before, status)
        most = max(MISSED_RATE, 2.0 * (baseline.missed_rate or 0.0))
        words = f"of control periods missed, at most {most:.0%}; before the switch {_told(baseline.missed_rate, '')}"
        yield _rate("missed_rate", missed or 0.0, most, words)
        yield _traffic(span, before, status)
        count = status.clamped - before.clamped
        of = status.inferences - before.inferences
        words = f"of inferences outside the model's own contract, at most {CLAMPED_RATE:.0%}"
        yield _rate("clamped_rate", _part(count, of), CLAMPED_RATE, words)
    view = span.now.slot(expected.slot)
    old = span.first.slot(expected.slot)
    if view is None or old is None or view.epoch != old.epoch:
        return
    limited = _part(view.limited - old.limited, view.actions - old.actions)
    yield _rate("limited_rate", limited, LIMITED_RATE, f"of actions beyond the limits, at most {LIMITED_RATE:.0%}")
    heard = heard_hz(span.first.view, span.now.view, expected.slot)
    if heard is not None:
        least = min(HEARD_PART * status.control_hz, 0.9 * (baseline.control_hz or status.control_hz))
        text = f"{heard:g} actions a second, of {status.control_hz:g}"
        yield Finding(RELEASE, Check("control_hz", heard, round(least, 2), heard >= least, text))


def _traffic(span: Span, before: SlotStatus, status: SlotStatus) -> Finding:
    """Whether it works where the other slot does.

    A robot without a command gives neither anything to do, and the text says so.
    """
    made = status.inferences - before.inferences
    seconds = (status.monotonic_ns - before.monotonic_ns) / 1e9
    other = span.now.beside
    then = span.first.beside
    asked = other.inferences - then.inferences if other and then and other.pid == then.pid else 0
    patience_s = max(STALL_PERIODS / (status.control_hz or 1.0), STALL_MS / 1e3, 5e-3 * (status.p99_ms or 0.0))
    ok = made > 0 or asked <= 0 or seconds < patience_s
    text = f"{made} inferences, {asked} in the other slot"
    idle = "nothing was asked of it: judged by its proof, its warm-up and its heartbeat"
    return Finding(RELEASE, Check("inferences", float(made), 0.0, ok, text if made or asked else idle))


def _heat(status: SlotStatus, baseline: Baseline) -> Iterator[Finding]:
    """Heat slows a release down and is not its fault: too hot is nothing to judge by, throttled is told."""
    heat = temperature_c(status)
    throttled = status.machine.get("throttled")
    kind = ROBOT if "temperature_c" in baseline.faults else NO_DATA
    ok = heat is None or heat <= HOT_C
    yield Finding(kind, Check("temperature_c", heat, HOT_C, ok, f"{_told(heat, '°C')}, at most {HOT_C:g}"))
    text = f"throttled: {_told(throttled, '')}"
    yield Finding(ROBOT, Check("throttled", throttled, 0.0, not throttled, text))


def _part(count: int, of: int) -> float:
    """A rate over too few says nothing yet; other checks keep the gate from passing on nothing."""
    return round(count / of, 4) if of >= _MIN_PERIODS else 0.0


def _rate(metric: str, rate: float, most: float, words: str) -> Finding:
    return Finding(RELEASE, Check(metric, rate, most, rate <= most, f"{rate:.1%} {words}"))


def _told(value: float | None, unit: str) -> str:
    return "no data" if value is None else f"{value:g} {unit}".rstrip()
