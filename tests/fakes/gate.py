"""Samples as the gate sees them: a good release in slot a, and its old one beside it, at any second and with any field
bent.
"""

from __future__ import annotations

from dataclasses import replace

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Release
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.findings import Expected, Span
from stack.agent.gate.judge import Judgement, judge
from stack.agent.gate.samples import SlotSample, SlotStatus
from stack.agent.machine.processes import ProcessId
from stack.agent.supervisor import SlotReport, View
from tests.fakes.robot import release_fields

RELEASE, MODEL, IMAGE = Digest.of(b"release"), Digest.of(b"model"), str(Digest.of(b"image"))
OLD = Digest.of(b"old release")
DOCUMENT = Release.parse(dump(release_fields(MODEL, "1.0.0")))
RECIPE = replace(DOCUMENT.recipe, inference_p99_ms=50.0, peak_memory_bytes=1 << 30)
PROOF = GateResult.of("prove", [Check("parity_linear_x", 0.001, 0.01, True, "off by 0.001")])
NOTHING = Baseline()
EXPECTED = Expected(
    "probation", "a", replace(DOCUMENT, digest=RELEASE, recipe=RECIPE), "key", IMAGE, PROOF,
    switched_ns=1000
)  # fmt: skip
SHADOW = replace(EXPECTED, gate="shadow", switched_ns=None)
STATUS = SlotStatus(
    pid=7, start_ticks=70, release=str(RELEASE), model=str(MODEL), engine="key", image=IMAGE, state="ready", error=None,
    control_hz=20.0, inferences=100, clamped=0, p50_ms=8.0, p99_ms=10.0, missed=0, non_finite=0,
    source_ages_ms={"camera_front": 30.0, "scan": 50.0}, needed=frozenset({"camera_front", "scan"}),
    memory_bytes=1 << 20, monotonic_ns=1_000_000_000_000, machine={},
)  # fmt: skip
BESIDE = replace(STATUS, pid=6, start_ticks=60, release=str(OLD))
SLOT = SlotReport(RELEASE.short, 1, 20.0, 100, 40, True, None, 0, 0)
VIEW = View(
    protocol=1, version="0.1.0", monotonic_ns=1_000_000_000_000, armed=True, latched=(), holders=(), selected_slot="a",
    selected_release=str(RELEASE), reverted=None, slots={"a": SLOT, "b": replace(SLOT, release=OLD.short)}, linear=0.0,
    angular=0.0,
    battery=0.9, faulty_sources=frozenset(),
)  # fmt: skip
GOOD = SlotSample(0.0, ProcessId(7, 70, "boot"), STATUS, VIEW, BESIDE)
HZ, INFERENCES_HZ = 20, 15


def after(seconds: float, **fields: object) -> SlotSample:
    """A good sample some seconds later, with fields of the slot's status changed."""
    later_ns, made = int(seconds * 1e9), int(seconds * INFERENCES_HZ)
    status = replace(STATUS, monotonic_ns=STATUS.monotonic_ns + later_ns, inferences=100 + made)
    beside = replace(BESIDE, monotonic_ns=BESIDE.monotonic_ns + later_ns, inferences=100 + made)
    actions = 100 + int(seconds * HZ)
    slots = {name: replace(slot, actions=actions) for name, slot in VIEW.slots.items()}
    view = replace(VIEW, monotonic_ns=VIEW.monotonic_ns + later_ns, slots=slots)
    return replace(GOOD, at_s=seconds, status=replace(status, **fields), view=view, beside=beside)


def with_slot(sample: SlotSample, **fields: object) -> SlotSample:
    """The same sample with fields of the supervisor's view of slot a changed."""
    assert sample.view is not None
    slots = sample.view.slots
    return replace(sample, view=replace(sample.view, slots={**slots, "a": replace(slots["a"], **fields)}))


def with_beside(sample: SlotSample, **fields: object) -> SlotSample:
    """The same sample with fields of the other slot's status changed."""
    assert sample.beside is not None
    return replace(sample, beside=replace(sample.beside, **fields))


def verdict_on(
    sample: SlotSample, expected: Expected = SHADOW, baseline: Baseline = NOTHING, slow: SlotSample | None = None
) -> Judgement:
    """What the gate says of one sample, with rates since the first good one."""
    return judge(expected, Span(GOOD, sample, slow), baseline)


def failing(judgement: Judgement) -> list[str]:
    return [check.metric for check in judgement.result.checks if not check.ok]
