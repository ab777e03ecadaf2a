"""Which slot drives, on probation or not, and the way back."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError, UsageError
from model_registry.core.layout import Layout, linked_release, linked_slot
from stack.supervisor.clock import STAMP_FUTURE_S
from stack.supervisor.slots import SILENCE_S, SlotView
from stack.supervisor.state import NONE, Reason, names

log = logging.getLogger(__name__)

_EXCESS_COUNT = 5


@dataclass(frozen=True, slots=True)
class Selected:
    """The slot that drives and the release it must be running."""

    slot: str
    release: Digest


@dataclass(frozen=True, slots=True)
class Probation:
    """Until then (monotonic s) a failure of the driver re-selects `fallback`; None: there is no way back."""

    fallback: str | None
    until_s: float


@dataclass(frozen=True, slots=True)
class SlotFailure:
    """What is wrong with a slot, in one measured figure. `reason` NONE: only wrong during probation."""

    reason: Reason
    metric: str
    value: float | None
    threshold: float | None


def failures(view: SlotView, release: Digest, now_s: float, oldest_s: float) -> list[SlotFailure]:
    """Everything that keeps a slot from driving, the worst first. `oldest_s` is how old what it saw may be."""
    found = [
        SlotFailure(reason, metric, view.counts[metric], 0)
        for reason, metric in ((Reason.NON_FINITE, "non_finite"), (Reason.WRONG_WIDTH, "wrong_width"))
        if reason & view.fresh
    ]
    if not view.alive(now_s):
        age = view.age_s(now_s)
        silence = None if age is None else round(age * 1e3, 1)
        found.append(SlotFailure(Reason.SILENCE, "silence_ms", silence, SILENCE_S * 1e3))
    if view.release is not None and view.release != release.short:
        found.append(SlotFailure(Reason.OTHER_RELEASE, "release", None, None))
    late = bool(view.fresh & Reason.ACTION_STALE)
    observed_age = view.late_by_s if late else view.observed_age_s(now_s)
    if late or observed_age > oldest_s:
        threshold = oldest_s if observed_age > 0 else -STAMP_FUTURE_S
        found.append(
            SlotFailure(Reason.ACTION_STALE, "observation_age_ms", round(observed_age * 1e3, 1), threshold * 1e3)
        )
    return found


def committed(layout: Layout) -> Selected | None:
    """The slot and release that `current` names; None before the first COMMIT, or when the links say nothing usable."""
    slot = linked_slot(layout)
    try:
        release = None if slot is None else linked_release(layout.slot(slot))
    except UsageError as error:
        log.warning("No slot is selected: %s", error)
        return None
    return Selected(slot, release) if slot is not None and release is not None else None


class Selection:
    """The driver, its probation and the last reversal. Changes only between two ticks."""

    def __init__(self, selected: Selected | None, views: dict[str, SlotView]) -> None:
        self.selected = selected
        self.probation: Probation | None = None
        self.reverted: dict[str, object] | None = None
        """The driver that failed its probation, where the supervisor went (`to` null: nowhere, zero), and why."""
        self._views = views
        self._releases: dict[str, Digest] = {} if selected is None else {selected.slot: selected.release}

    @property
    def driver(self) -> SlotView | None:
        return None if self.selected is None else self._views[self.selected.slot]

    def select(self, wanted: Selected, probation_s: float, fallback: str | None, now_s: float) -> None:
        """Make `wanted` the driver, or change only its probation when it is. Raises UsageError or RefusedError."""
        if fallback == wanted.slot:
            raise UsageError(f"select {wanted.slot}: a slot cannot be its own fallback; name the other one or null")
        if fallback is not None and fallback not in self._releases:
            raise RefusedError(f"select {wanted.slot}: fallback {fallback} never drove here; select without a fallback")
        if wanted != self.selected:
            self._check(wanted, now_s)
            self.selected = wanted
            self.reverted = None
            self._releases[wanted.slot] = wanted.release
        self.probation = Probation(fallback, now_s + probation_s) if probation_s > 0 else None

    def _check(self, wanted: Selected, now_s: float) -> None:
        view = self._views[wanted.slot]
        if view.release is not None and view.release != wanted.release.short:
            raise RefusedError(
                f"select {wanted.slot}: its actions carry release {view.release}, not {wanted.release.short}; wait "
                "until it runs that release"
            )
        refusal = view.refusal(now_s)
        if view.failed:
            raise RefusedError(f"select {wanted.slot}: {refusal}; restart the slot or choose another release")
        if refusal:
            raise RefusedError(f"select {wanted.slot}: not selectable, {refusal}; wait for it or look at its log")

    def watch(self, now_s: float, oldest_s: float) -> Reason:
        """What is wrong with the driver at this tick; goes back to the fallback first if the probation asks for it.

        Its actions may come from observations of `oldest_s`.
        """
        if self.selected is None or self.driver is None:
            return Reason.NO_SLOT
        self.driver.drive(now_s)
        found = failures(self.driver, self.selected.release, now_s, oldest_s)
        if self.probation is not None:
            if (excess := sum(self.driver.recent)) >= _EXCESS_COUNT:
                # A driver that asks for more than the robot may do, again and again, fails its probation.
                found.append(SlotFailure(NONE, "limited", excess, _EXCESS_COUNT))
            if found:
                self._revert(self.selected, self.probation.fallback, found[0], now_s)
                if self.selected is None:
                    return Reason.NO_SLOT
                found = failures(self.driver, self.selected.release, now_s, oldest_s)
            elif now_s >= self.probation.until_s:
                self.probation = None
        reasons = NONE
        for failure in found:
            reasons |= failure.reason
        return reasons

    def _revert(self, failed: Selected, fallback: str | None, failure: SlotFailure, now_s: float) -> None:
        view = self._views[failed.slot]
        if view.release == failed.release.short:
            view.failed = failure.metric
        self.reverted = {
            "slot": failed.slot,
            "release": str(failed.release),
            "to": fallback,
            "reason": names(failure.reason)[0] if failure.reason else "out_of_limits",
            "metric": failure.metric,
            "value": failure.value,
            "threshold": failure.threshold,
            "monotonic_ns": int(now_s * 1e9),
        }
        self.probation = None
        self.selected = None if fallback is None else Selected(fallback, self._releases[fallback])
