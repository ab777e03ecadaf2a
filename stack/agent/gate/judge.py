"""One look at a release, judged: what its slot's own status and the supervisor's view say about it.

*Fatal* findings end a gate at once: the process died, another digest runs than expected, a non-finite action, a stall,
the supervisor went back. What was broken before the switch is the robot's fault, not the release's: degraded-hw. Where
nothing is seen nobody is blamed: unreachable.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_registry.core.errors import HomeportError
from model_registry.core.gate import GateResult
from model_registry.core.release import Release
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.evidence import CROWDED, crowding, fatal, performance, presence
from stack.agent.gate.findings import FATAL, NO_DATA, ROBOT, Expected, Finding, Span
from stack.agent.gate.samples import image_here
from stack.agent.host import Host

_BLINDED = ("selectable", "inferences", "limited_rate")
"""What nobody can do without a source that was broken before."""


def expect(host: Host, gate: str, slot: str, release: Release, switched_ns: int | None = None) -> Expected:
    """What this robot's store says must be found in a slot."""
    store = host.store
    digest = release.digest
    key = store.engine_key(digest)
    image = image_here(host, release)
    try:
        proof = GateResult.load(host.layout.release(digest).proof)
    except (OSError, HomeportError):
        proof = None
    return Expected(gate, slot, release, key, image, proof, switched_ns)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A gate result, whether it is final, and whether a good one is still open."""

    result: GateResult
    fatal: bool
    open: bool = False


def judge(expected: Expected, span: Span, baseline: Baseline) -> Judgement:
    """Judge `span.now`; `baseline` is what was true before the switch."""
    findings = [*fatal(expected, span), *crowding(expected, span, baseline), *presence(expected, span)]
    now = span.now
    ended = [each.check for each in findings if each.kind == FATAL and not each.check.ok]
    if ended:
        # A supervisor that started again selects what is committed, and says nothing against the candidate; nor does a
        # robot without room.
        verdict = "unhealthy" if any(check.metric not in ("selected", CROWDED) for check in ended) else "unreachable"
        return Judgement(GateResult(expected.gate, verdict, tuple(ended)), True)
    if expected.gate != "restore":
        findings += performance(expected, span, baseline)
    failing = [each for each in findings if not each.check.ok]
    broken = any(each.kind == ROBOT and each.check.metric.startswith("source_") for each in failing)
    guilty = [each for each in failing if not _excused(each, broken)]
    if now.process is None or now.status is None or now.view is None:
        verdict = "unreachable"
    elif guilty:
        verdict = "unhealthy" if now.ready else "starting"
    elif any(each.kind != ROBOT for each in failing):
        verdict = "unreachable"
    else:
        verdict = "degraded-hw" if failing else "healthy"
    ordered = (
        *guilty,
        *(each for each in failing if each not in guilty),
        *(each for each in findings if each.check.ok),
    )
    result = GateResult(expected.gate, verdict, tuple(each.check for each in ordered))
    return Judgement(result, False, any(each.open for each in findings))


def blames(result: GateResult) -> bool:
    """Whether a failed gate says something about the release: one that saw too little does not."""
    return result.verdict in ("unhealthy", "starting")


def _excused(finding: Finding, broken: bool) -> bool:
    """Whether a failing check is not the release's matter."""
    return finding.kind in (ROBOT, NO_DATA) or (broken and finding.check.metric in _BLINDED)
