"""What a gate finds in a slot, in a span of time, measured against what must be there.

Every finding says whose matter it is when it is not ok: the release's, the robot's, or nobody's because nothing was
seen (NO_DATA). A fatal one ends the gate at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Release
from stack.agent.gate.samples import SlotSample

FATAL = "fatal"
RELEASE = "release"
NO_DATA = "no data"
ROBOT = "robot"
LASTING_CYCLES = 250
LASTING_S = 30.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be found in a slot.

    `proof` is what its engine showed on this device, `switched_ns` when it was selected; None while it only shadows.
    """

    gate: str
    slot: str
    release: Release
    engine: str | None
    image: str | None
    proof: GateResult | None
    switched_ns: int | None = None

    @property
    def budget_ms(self) -> float:
        """The p99 that the engine had to prove.

        It is the release's, or the cadence's for a backend that is not its first choice.
        """
        for each in self.proof.checks if self.proof else ():
            if each.metric == "inference_p99_ms" and each.threshold is not None:
                return each.threshold
        return self.release.recipe.inference_p99_ms


@dataclass(frozen=True, slots=True)
class Span:
    """What is judged: the sample `now`, with rates since the sample `first`.

    `slow` says since when it has been over its budget without a break, `risen` since when slower than allowed.

    The ticks of the slot beside it are counted since `before`, however this one is.
    """

    first: SlotSample
    now: SlotSample
    slow: SlotSample | None = None
    risen: SlotSample | None = None
    before: SlotSample | None = None

    def lasts(self, since: SlotSample | None) -> bool:
        """Whether something has gone on for longer than one moment among the cycles that the slot remembers."""
        if since is None or since.status is None or self.now.status is None:
            return False
        cycles = self.now.status.inferences - since.status.inferences
        return cycles >= LASTING_CYCLES or self.now.at_s - since.at_s >= LASTING_S


@dataclass(frozen=True, slots=True)
class Finding:
    """A check, and whose matter it is when it is not ok. While one is `open` a probation goes on to its deadline."""

    kind: str
    check: Check
    open: bool = False
