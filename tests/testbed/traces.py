"""What the gate saw of a good release.

Recorded from a real robot, bent in every way in which a robot bends it, and judged by the agent's own code.

A trace is judged as the agent does it: a baseline from the samples before the candidate started, the gate `shadow`,
then the gate `probation` from the moment in which it was selected. docs/architecture.md has what counts as a false
rollback.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from typing import Any, cast

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.files import Files
from model_registry.core.gate import GateResult
from model_registry.core.robot import Robot as RobotSettings
from stack.agent.disk.store import Store
from stack.agent.gate import baseline as baseline_module
from stack.agent.gate import evidence, judge, watch
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.findings import Expected, Span
from stack.agent.gate.samples import SlotSample, SlotStatus, observe
from stack.agent.gate.watch import Patience, Watch
from stack.agent.host import Host
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.settings.config import Config
from stack.agent.supervisor import SupervisorClient
from tests.testbed.fleet import Robot

SHADOW_S, READY_S, PROBATION_S = 2.0, 60.0, 12.0
LATENCY_RISE = 0.1
RECORDED_S = 60.0
"""How long a recorded probation lasts: more than any bent one needs."""
PERIOD_S = 0.1


@dataclass(frozen=True)
class Trace:
    """Samples of one robot, oldest first, every tenth of a second.

    `before` are those of the old release alone, `samples` those of the candidate from its start on.
    """

    expected: Expected
    before: tuple[SlotSample, ...]
    samples: tuple[SlotSample, ...]
    switched_s: float

    @property
    def old_slot(self) -> str:
        return "ab".replace(self.expected.slot, "")

    @property
    def ready(self) -> int:
        """The number of the first sample in which the candidate is ready."""
        return next(number for number, sample in enumerate(self.samples) if sample.ready)


@dataclass(frozen=True)
class Outcome:
    """The gate that decided, what it found, and how long after the moment in question (s)."""

    result: GateResult
    at_s: float


def configuration() -> dict[str, object]:
    """Everything that decides how strict the gate is."""
    modules = (baseline_module, evidence, judge, watch)
    constants = {name: value for module in modules for name, value in numbers(module)}
    return {
        **constants,
        **{"shadow_s": SHADOW_S, "ready_s": READY_S, "probation_s": PROBATION_S, "latency_rise": LATENCY_RISE},
    }


def numbers(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The constants of a module that are figures."""
    return ((name, value) for name, value in vars(module).items() if name.isupper() and isinstance(value, int | float))


def configuration_digest() -> str:
    return Digest.of(dump(configuration())).short


def demanding(recipe: str) -> str:
    """A recipe whose release may hardly be slower than the one before it."""
    return recipe.replace("[engine.budget]\n", f"[engine.budget]\nlatency_rise = {LATENCY_RISE}\n")


def switch_arguments(digest: str, probation_s: float = PROBATION_S) -> tuple[str, ...]:
    return ("switch", digest, "--commit", "auto", "--gate", "moving", "--probation", str(probation_s))


def eye(robot: Robot) -> Host:
    """What the agent's looking functions need of a host; it reads and owns nothing."""
    layout = robot.layout
    runtime = ProcessRuntime(layout, Config.load(layout.agent_toml), Files())
    supervisor = SupervisorClient(layout.control_socket, layout.operator_socket)
    settings = RobotSettings.load(layout.robot_toml)
    parts = {"layout": layout, "runtime": runtime, "store": Store(layout, Files(), runtime), "supervisor": supervisor}
    return cast(Host, SimpleNamespace(**parts, robot=lambda: settings))


def record(robot: Robot, digest: str) -> Trace:
    """Switch a robot to a staged release and write down what there was to see.

    Raises AssertionError when it did not drive long enough.
    """
    host, pause = eye(robot), threading.Event()
    old, new = host.store.current_slot(), host.store.free_slot()
    assert old is not None, "nothing drives yet"
    before = []
    for _ in range(20):
        before.append(observe(host, old))
        pause.wait(PERIOD_S)
    answer: dict[str, Any] = {}
    verb = threading.Thread(
        target=lambda: answer.update(robot.agent(*switch_arguments(digest, RECORDED_S), check_code=False))
    )
    verb.start()
    samples = []
    while verb.is_alive():
        sample = observe(host, new)
        samples += [sample] if sample.process is not None else []
        pause.wait(PERIOD_S)
    assert answer["exit_code"] == 0, answer
    times = {(each["stage"], each["phase"]): each["monotonic_ns"] / 1e9 for each in robot.journal()}
    expected = judge.expect(host, "shadow", new, host.store.load(Digest.parse(digest)))
    end_s = times["COMMIT", "intent"]
    return Trace(
        expected, tuple(before), tuple(each for each in samples if each.at_s < end_s), times["SWITCH", "done"]
    )  # fmt: skip


def judged(trace: Trace) -> Outcome:
    """What the agent would have decided. Raises AssertionError when the trace ends before that."""
    before = Baseline.of(trace.old_slot, trace.before)
    samples = iter(trace.samples)
    shadow = Watch(trace.expected, Patience(SHADOW_S, READY_S + SHADOW_S), before, next(samples))
    outcome = _feed(shadow, samples)
    if not outcome.result.passed:
        return outcome
    begin_s = max(trace.switched_s, outcome.at_s)
    first = next(sample for sample in samples if sample.at_s >= begin_s)
    expected = replace(trace.expected, gate="probation", switched_ns=int(trace.switched_s * 1e9))
    return _feed(Watch(expected, Patience.probation(PROBATION_S, expected.release), before, first), samples)


def _feed(watch: Watch, samples: Iterator[SlotSample]) -> Outcome:
    for sample in samples:
        if (result := watch.feed(sample)) is not None:
            return Outcome(result, sample.at_s)
    raise AssertionError("the trace ends before the gate does")


def asked_once(trace: Trace, after_s: float = 5.0) -> bool:
    """Whether a gate passes that asks one time, so long after the start."""
    start = trace.samples[0].at_s
    sample = next(each for each in trace.samples if each.at_s >= start + after_s)
    return judge.judge(trace.expected, Span(sample, sample), Baseline()).result.passed


def never_silent(trace: Trace, longest_ms: float = 60.0) -> bool:
    """Whether a gate passes that takes a message as late as that for a stall."""
    views = (sample.slot(trace.expected.slot) for sample in trace.samples[trace.ready :])
    return all(view is None or (view.age_ms or 0.0) <= longest_ms for view in views)


# How a robot bends what is seen of a good release

Bend = Callable[[Trace, random.Random], Trace]
Bits = dict[str, Any]


def each_sample(trace: Trace, bend: Callable[[SlotSample], SlotSample], before: bool = False) -> Trace:
    old = tuple(bend(sample) for sample in trace.before) if before else trace.before
    return replace(trace, before=old, samples=tuple(bend(sample) for sample in trace.samples))


def _status(sample: SlotSample, **fields: object) -> SlotSample:
    return sample if sample.status is None else replace(sample, status=replace(sample.status, **cast(Bits, fields)))


def _both(sample: SlotSample, change: Callable[[SlotStatus], SlotStatus]) -> SlotSample:
    """Change what both slots say."""
    status, beside = (each and change(each) for each in (sample.status, sample.beside))
    return replace(sample, status=status, beside=beside)


def _episodes(trace: Trace, chance: random.Random, count: int, longest_s: float) -> list[tuple[float, float]]:
    """Some stretches of time (s) in which something is wrong.

    They lie between the first ready sample and the end of what is judged.
    """
    start = trace.samples[trace.ready].at_s
    begins = [start + chance.uniform(0.0, 30.0) for _ in range(count)]
    return [(begin, begin + chance.uniform(0.2, longest_s)) for begin in begins]


def slow_start(trace: Trace, chance: random.Random) -> Trace:
    """The policy takes up to 45 s longer to load."""
    ready, longer_s = trace.ready, chance.uniform(1.0, 45.0)
    last = trace.samples[ready - 1] if ready else replace(trace.samples[0], status=None)
    times = range(int(longer_s / PERIOD_S))
    waiting = tuple(replace(last, at_s=last.at_s + PERIOD_S * number) for number in times)
    later = tuple(replace(sample, at_s=sample.at_s + longer_s) for sample in trace.samples[ready:])
    samples = (*trace.samples[:ready], *waiting, *later)
    return replace(trace, samples=samples, switched_s=trace.switched_s + longer_s)


def busy(trace: Trace, chance: random.Random) -> Trace:
    """Other programs take the processor: both slots get slower, and the candidate misses ticks now and then."""
    episodes = _episodes(trace, chance, chance.randint(1, 3), 15.0)
    factor, tail, share = chance.uniform(1.1, 3.0), chance.uniform(1.0, 4.0), chance.uniform(0.0, 0.06)
    missed, last_s = 0.0, trace.samples[0].at_s

    def bend(sample: SlotSample) -> SlotSample:
        nonlocal missed, last_s
        begins = [begin for begin, end in episodes if begin <= sample.at_s <= end]
        recent = any(begin <= sample.at_s <= end + 13.0 for begin, end in episodes)
        missed += share * 20.0 * (sample.at_s - last_s) if begins else 0.0
        last_s = sample.at_s
        slower = factor if begins else 1.0

        def change(status: SlotStatus) -> SlotStatus:
            machine, noise = {**status.machine, "pressure_percent": 70.0 if begins else 5.0}, chance.uniform(0.97, 1.03)
            p50_ms, p99_ms = status.p50_ms, status.p99_ms
            longest = p99_ms and p99_ms * (tail if recent else 1.0)
            return replace(status, p50_ms=p50_ms and p50_ms * slower * noise, p99_ms=longest, machine=machine)

        bent = _both(sample, change)
        return _status(bent, missed=bent.status.missed + int(missed)) if bent.status else bent

    return each_sample(trace, bend)


def jitter(trace: Trace, chance: random.Random) -> Trace:
    """Looks come late, and so do single messages."""

    def bend(sample: SlotSample) -> SlotSample:
        moved = replace(sample, at_s=sample.at_s + chance.uniform(0.0, 0.09))
        if moved.view is None or chance.random() > 0.2:
            return moved
        name = trace.expected.slot
        view = replace(moved.view.slots[name], age_ms=chance.uniform(0.0, 900.0))
        return replace(moved, view=replace(moved.view, slots={**moved.view.slots, name: view}))

    return each_sample(trace, bend)


def late_status(trace: Trace, chance: random.Random) -> Trace:
    """Status file or supervisor say nothing for some seconds."""
    silent = _episodes(trace, chance, chance.randint(1, 2), 2.5)
    unheard = _episodes(trace, chance, 1, 1.5)

    def bend(sample: SlotSample) -> SlotSample:
        status = None if _within(sample, silent) else sample.status
        return replace(sample, status=status, view=None if _within(sample, unheard) else sample.view)

    return each_sample(trace, bend)


def _within(sample: SlotSample, episodes: Sequence[tuple[float, float]]) -> bool:
    return any(begin <= sample.at_s <= end for begin, end in episodes)


def broken_before(trace: Trace, chance: random.Random) -> Trace:
    """A sensor that was slow, silent or intermittent before the candidate came, and still is."""
    name, always = chance.choice(("camera_front", "scan")), chance.random() < 0.5
    age = chance.choice((None, chance.uniform(1100.0, 9000.0)))
    period_s = chance.uniform(0.6, 1.5)

    def bend(sample: SlotSample) -> SlotSample:
        bad = always or int(sample.at_s / period_s) % 2 == 0
        return _both(
            sample,
            lambda status: replace(status, source_ages_ms={**status.source_ages_ms, name: age}) if bad else status,
        )

    return each_sample(trace, bend, before=True)


def hot_before(trace: Trace, chance: random.Random) -> Trace:
    """A robot that was hot or throttled itself before."""
    heat = {"temperature_c": chance.uniform(96.0, 104.0), "throttled": float(chance.random() < 0.5)}
    return each_sample(
        trace,
        lambda sample: _both(sample, lambda status: replace(status, machine={**status.machine, **heat})),
        before=True,
    )


def cold_cache(trace: Trace, chance: random.Random) -> Trace:
    """A few slow inferences, which stay in the p99 for 200 cycles."""
    begin = trace.samples[trace.ready].at_s + chance.uniform(0.0, 20.0)
    slow_ms = trace.expected.budget_ms * chance.uniform(1.05, 6.0)
    counts = (sample.status.inferences for sample in trace.samples if sample.at_s >= begin and sample.status)
    last = next(counts, 0) + 200

    def bend(sample: SlotSample) -> SlotSample:
        slow = sample.at_s >= begin and sample.status is not None and sample.status.inferences <= last
        return _status(sample, p99_ms=slow_ms) if slow else sample

    return each_sample(trace, bend)


BENDS: tuple[Bend, ...] = (slow_start, busy, jitter, late_status, broken_before, hot_before, cold_cache)


def bent(trace: Trace, seed: int) -> tuple[str, Trace]:
    """One to three of the bends, by a number that gives the same ones again; their names and the trace."""
    chance = random.Random(seed)
    chosen = chance.sample(BENDS, chance.randint(1, 3))
    for bend in chosen:
        trace = bend(trace, chance)
    return "+".join(bend.__name__ for bend in chosen), trace
