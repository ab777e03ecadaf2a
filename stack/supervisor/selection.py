"""Which slot drives, on probation or not, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError, UsageError
from stack.supervisor.settings import Settings
from stack.supervisor.slots import SlotView
from stack.supervisor.state import Reason


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
class Failure:
    """What is wrong with a slot, in one measured figure. `reason` None: only wrong during probation."""

    reason: Reason | None
    metric: str
    value: float | None
    threshold: float | None

    @property
    def word(self) -> str:
        return "out_of_limits" if self.reason is None else str(self.reason.name).lower()


@dataclass(frozen=True, slots=True)
class Reverted:
    """A driver that failed its probation, and where the supervisor went (None: nowhere, zero)."""

    selected: Selected
    to: str | None
    failure: Failure
    now_s: float


def failures(view: SlotView, release: Digest, now_s: float) -> list[Failure]:
    """Everything that keeps a slot from driving, the worst first."""
    settings, found = view.settings, []
    if "non_finite" in view.fresh:
        found.append(Failure(Reason.NON_FINITE, "non_finite", view.non_finite, 0))
    if "wrong_width" in view.fresh:
        found.append(Failure(Reason.WRONG_WIDTH, "wrong_width", view.wrong_width, 0))
    age = view.age_s(now_s)
    if age is None or age > settings.silence_s:
        silence = None if age is None else round(age * 1e3, 1)
        found.append(Failure(Reason.SILENCE, "silence_ms", silence, settings.silence_s * 1e3))
    if view.release is not None and view.release != release.short:
        found.append(Failure(Reason.OTHER_RELEASE, "release", None, None))
    observed_age = _observed_age(view, now_s)
    if observed_age is not None:
        threshold = settings.stamp_max_age_s if observed_age > 0 else -settings.stamp_future_s
        found.append(Failure(Reason.ACTION_STALE, "observation_age_ms", round(observed_age * 1e3, 1), threshold * 1e3))
    return found


def _observed_age(view: SlotView, now_s: float) -> float | None:
    """Age of the oldest input of what the slot says now (s), when that is too much or negative."""
    if "late" in view.fresh:
        return view.late_by_s
    if view.chunk is None or view.chunk.void or not view.alive(now_s):
        return None
    age = now_s - view.chunk.observed_s
    return age if age > view.settings.stamp_max_age_s else None


def excess(view: SlotView) -> list[Failure]:
    """A driver that asks for more than the robot may do, again and again, fails its probation."""
    count = sum(view.recent)
    if count < view.settings.excess_count:
        return []
    return [Failure(None, "limited", count, view.settings.excess_count)]


class Selection:
    """The driver, its probation and the last reversal. Changes only between two ticks."""

    def __init__(self, settings: Settings, selected: Selected | None) -> None:
        self._settings = settings
        self.selected = selected
        self.probation: Probation | None = None
        self.reverted: Reverted | None = None
        self._releases: dict[str, Digest] = {} if selected is None else {selected.slot: selected.release}

    def select(self, wanted: Selected, probation_s: float, fallback: str | None, view: SlotView, now_s: float) -> None:
        """Make `wanted` the driver, or change only its probation when it is. Raises UsageError or RefusedError."""
        if fallback == wanted.slot:
            raise UsageError(f"select {wanted.slot}: a slot cannot be its own fallback; name the other one or null")
        if fallback is not None and fallback not in self._releases:
            raise RefusedError(f"select {wanted.slot}: fallback {fallback} never drove here; select without a fallback")
        if wanted != self.selected:
            self._check(wanted, view, now_s)
            self.selected = wanted
            self.reverted = None
            self._releases[wanted.slot] = wanted.release
        self.probation = Probation(fallback, now_s + probation_s) if probation_s > 0 else None

    @staticmethod
    def _check(wanted: Selected, view: SlotView, now_s: float) -> None:
        if view.release is not None and view.release != wanted.release.short:
            raise RefusedError(
                f"select {wanted.slot}: its actions carry release {view.release}, not {wanted.release.short}; wait until it runs that release"
            )
        if refusal := view.refusal(now_s):
            raise RefusedError(f"select {wanted.slot}: not selectable, {refusal}; wait for it or look at its log")

    def watch(self, views: dict[str, SlotView], now_s: float) -> tuple[list[Failure], Reverted | None]:
        """The driver's failures at this tick, after going back to the fallback if the probation asks for it."""
        if self.selected is None:
            return [Failure(Reason.NO_SLOT, "selected", None, None)], None
        found = failures(views[self.selected.slot], self.selected.release, now_s)
        if self.probation is None:
            return found, None
        found_all = found + excess(views[self.selected.slot])
        if found_all:
            reverted = self._revert(found_all[0], now_s)
            return failures(views[self.selected.slot], self.selected.release, now_s), reverted
        if now_s >= self.probation.until_s:
            self.probation = None
        return found, None

    def _revert(self, failure: Failure, now_s: float) -> Reverted:
        assert self.selected is not None and self.probation is not None
        fallback = self.probation.fallback
        self.reverted = Reverted(self.selected, fallback, failure, now_s)
        self.probation = None
        if fallback is not None:
            self.selected = Selected(fallback, self._releases[fallback])
        return self.reverted
