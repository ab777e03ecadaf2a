"""How often a slot infers, and with which of its models.

An inference is due one period after the one before, when there is a new frame or command. On a machine that is hot or
busy the slot goes down the ladder: half the rate, then the smaller model. Only rungs that leave an action for every
control tick are there.

`adjust` is called by the main thread, `wait_for_news`, `due` and `begin` by the inference thread, `news` and `wanted`
by the executor thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from stack.policy.chunks import covers
from stack.policy.inference import TimedInference
from stack.policy.ladder import FULL, SLOW, SMALL, Ladder, Rung
from stack.policy.profile import Profile
from stack.policy.sources import Latest
from stack.policy.ticks import Ticks


class Pace:
    """The rate and the model of one slot. `leading` is the source whose every message may start an inference.

    `steps`: how many actions of a chunk are carried out, one each tick.
    `small` is a smaller model for the same actions, loaded and warm, if any.
    """

    def __init__(
        self,
        steps: int,
        profile: Profile,
        leading: Latest[Any],
        ticks: Ticks,
        full: TimedInference,
        small: TimedInference | None = None,
    ) -> None:
        self._steps = steps
        self._profile = profile
        self._leading = leading
        self._ticks = ticks
        self.full = full
        self.small = small
        self.ladder = Ladder()
        self.rung = FULL
        self.gap_free = True
        """Whether chunks last as long as this rung needs them to."""
        self._slow_lasts = True
        """Whether half the rate has left an action for every tick since the slot was at full rate."""
        self._news = threading.Event()
        self._pause = threading.Event()
        self._due = float("-inf")

    @property
    def inference(self) -> TimedInference:
        """The model that runs on this rung."""
        return self.small if self.small is not None and self.rung.small else self.full

    def adjust(self, load: Mapping[str, float | None], now: float) -> None:
        """Go up or down the ladder; `load` is what the machine says.

        When half rate has once left ticks without an action, it is offered again only after a spell at full rate;
        otherwise a camera near the limit would change the model every second.
        """
        self._slow_lasts = (self._slow_lasts or self.rung is FULL) and self.lasts(SLOW)
        rungs = (FULL, SLOW) if self._slow_lasts else (FULL,)
        if self.small is not None:
            rungs = (*rungs, SMALL)
        own = {"late_p99_ms": self._ticks.late_p99_ms, "struggling": float(self._ticks.struggling)}
        period_s = max(self.period_s(self.rung), self._leading.interval_s, self.inference.cycle_s)
        share = self.inference.cycle_s / period_s if period_s else 0.0
        if self._profile.ladder:
            self.ladder = self.ladder.step({**load, **own}, share, now, len(rungs))
        self.rung = rungs[min(self.ladder.index, len(rungs) - 1)]
        self.gap_free = self.lasts(self.rung)

    def period_s(self, rung: Rung) -> float:
        """Seconds between two inferences on a rung; 0 for one with every frame."""
        own_s = 1.0 / self._profile.inference_hz if self._profile.inference_hz else 0.0
        if rung.divisor == 1:
            return own_s
        usual_ms = self.full.percentiles()[0] or 0.0  # one long cycle must not make the pause after it twice as long
        return rung.divisor * max(own_s, self._leading.interval_s, usual_ms / 1e3)

    def lasts(self, rung: Rung) -> bool:
        """Whether chunks last as long as a rung, with the model that runs on it, needs them to."""
        model = self.small if self.small is not None and rung.small else self.full
        p99_ms = model.percentiles()[1] or 0.0
        step_s = self._ticks.period_s
        frame_s = self._leading.interval_s
        return covers(self._steps, step_s, p99_ms / 1e3, self.period_s(rung), frame_s)

    def news(self) -> None:
        """There is a new frame or command."""
        self._news.set()

    def wait_for_news(self, timeout_s: float) -> None:
        """Wait until an inference is due and there is a new frame or command."""
        early_s = self._due - time.monotonic()
        if early_s > 0:
            self._pause.wait(min(early_s, timeout_s))
        elif self._news.wait(timeout_s):
            self._news.clear()

    def wanted(self, now: float) -> bool:
        """Whether a frame that arrives now (monotonic s) is the one that the next inference will look at."""
        return now + self._leading.interval_s >= self._due

    def due(self, now: float) -> bool:
        """Whether it is time for the next inference."""
        return now >= self._due

    def begin(self, now: float) -> None:
        """An inference begins now; the next one is due a period later, on the same grid where that was kept."""
        period_s = self.period_s(self.rung)
        self._due = period_s + (now if now - self._due > period_s else self._due)
