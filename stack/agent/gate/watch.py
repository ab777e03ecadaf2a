"""One gate over many samples: how long a release has to be healthy, and what ends the wait.

    watch = Watch(expect(host, "probation", slot, release), Patience.probation(30.0, release), baseline, observe(host,
    slot)) result = watch.poll(lambda: observe(host, slot), abort)

A fatal finding ends it at once. The others must hold for some time before a deadline, so that a slow start or a busy
moment condemns nobody. No data never passes: the gate holds, and fails at its deadline as unreachable, which blames
nobody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Release
from stack.agent.gate import judge
from stack.agent.gate.baseline import Baseline
from stack.agent.gate.evidence import has_risen, over_budget
from stack.agent.gate.findings import LASTING_S, Expected, Span
from stack.agent.gate.samples import SlotSample

POLL_S = 0.1
GRACE_S = 2.0
SETTLE_S = 15.0
RATES_S = 10.0
_LONGEST_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Healthy for `sustain_s` within `deadline_s`, and within 15 s more than that once the policy is ready.

    Lapses up to `grace_s` do not count. After a longer one the time starts anew; if `strict` the gate fails, or holds
    for `hold_s` where there is no data.
    """

    sustain_s: float
    deadline_s: float
    grace_s: float = 0.0
    strict: bool = False
    hold_s: float = 8.0

    @classmethod
    def probation(cls, seconds: float, release: Release) -> Patience:
        """The patience with a release that drives.

        One that may not be slower than the last is given as much more time as it takes to tell.
        """
        more_s = 0.0 if release.recipe.latency_rise is None else LASTING_S
        return cls(seconds, seconds + more_s + GRACE_S + 5.0, GRACE_S, strict=True)


class Watch:
    """The state of one gate between two samples.

    One for the candidate, the release on probation and what was restored.
    """

    def __init__(self, expected: Expected, patience: Patience, baseline: Baseline, first: SlotSample) -> None:
        self._expected = expected
        self._patience = patience
        self._baseline = baseline
        self._recent = deque([first])
        self._deadline = first.at_s + patience.deadline_s
        self._good_s = 0.0
        self._good_at: float | None = None
        self._bad: tuple[float, GateResult] | None = None
        """Since when it fails without a break, and by what at first."""
        self._lacked = ""
        """What it lacked when it last was not healthy."""
        self._slow: SlotSample | None = None
        self._risen: SlotSample | None = None
        self._before = first
        self._settling = False

    def feed(self, sample: SlotSample) -> GateResult | None:
        """The final result, or None while it is open."""
        self._slow = (self._slow or sample) if over_budget(self._expected, sample) else None
        self._risen = (self._risen or sample) if has_risen(self._expected, sample, self._baseline) else None
        span = Span(self._recent[0], sample, self._slow, self._risen, self._before)
        if sample.at_s - self._before.at_s > RATES_S or self._before.beside is None:
            self._before = sample
        judgement = judge.judge(self._expected, span, self._baseline)
        result = judgement.result
        now = sample.at_s
        if judgement.fatal:
            return result
        if sample.ready and not self._settling and not self._patience.strict:
            self._settling = True
            self._deadline = min(self._deadline, now + self._patience.sustain_s + SETTLE_S)
        late = now >= self._deadline
        self._remember(sample)
        if result.passed:
            self._note_good(sample)
            waits = judgement.open and self._patience.strict and not late
            done = self._good_s >= self._patience.sustain_s and not waits
            if done:
                return result
            return self._too_little(result) if late else None
        self._good_at = None
        self._lacked = next((check.text for check in result.checks if not check.ok), "")
        return result if self._lapsed(sample, result) or late else None

    def _remember(self, sample: SlotSample) -> None:
        """Rates are taken over the last seconds that were seen."""
        if sample.status is not None and sample.view is not None:
            if self._recent[0].status is None or self._recent[0].view is None:
                self._recent.clear()
            self._recent.append(sample)
            while sample.at_s - self._recent[0].at_s > RATES_S:
                self._recent.popleft()

    def _note_good(self, sample: SlotSample) -> None:
        """Only time between two good samples counts, and no gap between them."""
        if self._good_at is not None:
            self._good_s += min(sample.at_s - self._good_at, _LONGEST_STEP_S)
        self._good_at = sample.at_s
        self._bad = None

    def _too_little(self, result: GateResult) -> GateResult:
        """At the deadline: good now, and not for long enough; what it lacked last says why."""
        good_s = round(self._good_s, 1)
        wanted_s = self._patience.sustain_s
        why = f"; the last time that it was not: {self._lacked}" if self._lacked else ""
        text = f"healthy for {good_s} s of {wanted_s} s before the deadline{why}"
        check = Check("healthy_s", good_s, wanted_s, False, text)
        return GateResult(result.gate, "unreachable", (check, *result.checks))

    def _lapsed(self, sample: SlotSample, result: GateResult) -> bool:
        """Whether this failing sample ends the gate; time and rates start anew when a run that may break was broken."""
        since, _ = self._bad = self._bad or (sample.at_s, result)
        patience = self._patience
        silent = result.verdict == "unreachable"
        if sample.at_s - since < (patience.hold_s if silent and patience.strict else patience.grace_s):
            return False
        if not patience.strict:
            self._good_s = 0.0
            self._recent = deque([sample])
        return patience.strict

    def poll(self, sample: Callable[[], SlotSample], stop: threading.Event) -> GateResult | None:
        """Feed samples until the gate is decided; None when `stop` was set."""
        while not stop.wait(POLL_S):
            if (result := self.feed(sample())) is not None:
                return result
        return None
