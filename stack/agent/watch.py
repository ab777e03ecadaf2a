"""Poll a gate to its deadline. One function for the candidate, the release on probation and what was restored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stack.agent.gates import Expected, Sample, judge
from stack.agent.reports import GateResult

POLL_S = 0.1
SETTLE_S = 15.0


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
    """The state of one gate between two samples."""

    def __init__(self, expected: Expected, patience: Patience, baseline: frozenset[str], first: Sample) -> None:
        self._expected, self._patience, self._baseline = expected, patience, baseline
        self._before, self._start = first, first
        self._deadline = first.at_s + patience.deadline_s
        self._good_since: float | None = None
        self._bad_since: float | None = None
        self._ready_at: float | None = None

    def feed(self, sample: Sample) -> GateResult | None:
        """The final result, or None while it is open."""
        judgement = judge(self._expected, self._start, sample, self._baseline)
        if judgement.fatal:
            return judgement.result
        if self._ready_at is None and sample.status is not None and sample.status.state == "ready":
            self._ready_at = sample.at_s
            self._deadline = min(self._deadline, sample.at_s + self._patience.sustain_s + SETTLE_S)
        if judgement.result.passed:
            self._bad_since = None
            if self._good_since is None:
                self._good_since = sample.at_s
            if sample.at_s - self._good_since >= self._patience.sustain_s:
                return judgement.result
        elif self._lapsed(sample):
            return judgement.result
        return judgement.result if sample.at_s >= self._deadline and not judgement.result.passed else None

    def _lapsed(self, sample: Sample) -> bool:
        """Whether this failing sample ends the gate; the rates are taken anew when the run was broken."""
        if self._bad_since is None:
            self._bad_since = sample.at_s
        if sample.at_s - self._bad_since < self._patience.grace_s:
            return False
        if self._patience.strict:
            return True
        self._good_since, self._start = None, sample
        return False


def watch(gate: Watch, sample: Callable[[], Sample], stop: threading.Event) -> GateResult | None:
    """Poll until the gate is decided; None when `stop` was set."""
    while not stop.wait(POLL_S):
        result = gate.feed(sample())
        if result is not None:
            return result
    return None


def wait_until(ready: Callable[[], bool], timeout_s: float, stop: threading.Event) -> bool:
    """Poll a condition to a deadline."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() >= deadline or stop.wait(POLL_S):
            return False
    return True
