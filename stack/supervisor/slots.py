"""What the supervisor knows about one slot, whether it drives or not.

A slot that does not drive is a shadow: its actions are checked, counted and compared here, and have no other way to go.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from model_registry.core.robot import Limits
from stack.supervisor.actions import ActionError, ActionMessage, Chunk, Fault, Identity, read_chunk
from stack.supervisor.clock import ClockWatch
from stack.supervisor.limits import Command, exceeds
from stack.supervisor.settings import Settings


@dataclass
class Disagreement:
    """Mean difference from the driver (m/s, rad/s), and how often it was more than a part of the limit."""

    samples: int = 0
    linear: float = 0.0
    angular: float = 0.0
    far: int = 0

    def add(self, mine: Command, driver: Command, limits: Limits, part: float) -> None:
        linear, angular = abs(mine[0] - driver[0]), abs(mine[1] - driver[1])
        self.samples += 1
        self.linear += linear
        self.angular += angular
        self.far += linear > part * limits.linear or angular > part * limits.angular

    def document(self) -> dict[str, object] | None:
        if not self.samples:
            return None
        return {
            "samples": self.samples,
            "linear_mean": self.linear / self.samples,
            "angular_mean": self.angular / self.samples,
            "rate": self.far / self.samples,
        }


@dataclass
class SlotView:
    """One slot's newest process. Everything is counted from that process's first message; times are monotonic seconds."""

    limits: Limits
    settings: Settings
    release: str | None = None
    epoch: int = -1
    seq: int = -1
    arrival_s: float | None = None
    actions: int = 0
    run: int = 0
    non_finite: int = 0
    wrong_width: int = 0
    late: int = 0
    limited: int = 0
    chunk: Chunk | None = None
    fresh: set[str] = field(default_factory=set)
    """What went wrong since the last tick: names of the counters."""
    late_by_s: float = 0.0
    recent: deque[bool] = field(default_factory=deque)
    """For each of the last messages, whether it asked for too much."""
    disagreement: Disagreement = field(default_factory=Disagreement)

    def accept(self, message: ActionMessage, clock: ClockWatch, expects_motion: bool) -> bool:
        """Take one message; True when it was a new one of the newest process.

        `expects_motion`: the driver is moving for the command in force, so an empty action breaks the run.
        """
        identity = Identity.parse(message.header)
        if identity is None or not self._is_newest(identity, message.arrival_s):
            return False
        if self.arrival_s is not None and message.arrival_s - self.arrival_s > self.settings.silence_s:
            self.run = 0
        self.arrival_s, self.seq = message.arrival_s, identity.seq
        self.actions += 1
        try:
            self.chunk = self._in_time(read_chunk(message, self.settings), clock)
        except ActionError as error:
            self.chunk = None
            self._count(error.fault)
        if self.chunk is None or (self.chunk.void and expects_motion):
            self.run = 0
        else:
            self.run += 1
        self._note_excess()
        return True

    def _is_newest(self, identity: Identity, arrival_s: float) -> bool:
        if identity.epoch == self.epoch:
            return identity.release == self.release and identity.seq > self.seq
        # An epoch is a start time on this computer's monotonic clock: one from the future would shut out every later process.
        if identity.epoch < self.epoch or identity.epoch > (arrival_s + 1.0) * 1e9:
            return False
        vars(self).update(vars(SlotView(self.limits, self.settings, identity.release, identity.epoch)))
        return True

    def _in_time(self, chunk: Chunk, clock: ClockWatch) -> Chunk | None:
        """The chunk, or None when its stamp is too old or in the future."""
        age = chunk.arrival_s - chunk.observed_s
        if chunk.void or -self.settings.stamp_future_s <= age <= self.settings.stamp_max_age_s:
            return chunk
        if not clock.excuses(chunk.arrival_s):
            self.late += 1
            self.late_by_s = age
            self.fresh.add("late")
        return None

    def _count(self, fault: Fault) -> None:
        self.fresh.add(fault.value)
        if fault is Fault.NON_FINITE:
            self.non_finite += 1
        else:
            self.wrong_width += 1

    def _note_excess(self) -> None:
        wanted = self.chunk.values[0] if self.chunk is not None and self.chunk.values else None
        excess = wanted is not None and exceeds(wanted, self.limits, self.settings.excess)
        self.limited += excess
        self.recent.append(excess)
        while len(self.recent) > self.settings.excess_window:
            self.recent.popleft()

    def age_s(self, now_s: float) -> float | None:
        """Time since the last message."""
        return None if self.arrival_s is None else max(0.0, now_s - self.arrival_s)

    def alive(self, now_s: float) -> bool:
        age = self.age_s(now_s)
        return age is not None and age <= self.settings.silence_s

    def due(self, now_s: float) -> Command | None:
        """The step to apply now, or None when there is none."""
        return self.chunk.at(now_s) if self.chunk is not None and self.alive(now_s) else None

    def refusal(self, now_s: float) -> str | None:
        """Why this slot cannot be selected now; None when it can."""
        if self.release is None:
            return "it has sent no action"
        if not self.alive(now_s):
            return f"its last action is {self.age_s(now_s) or 0.0:.1f} s old"
        if self.run >= self.settings.selectable_run:
            return None
        what = "wrong_width" if self.wrong_width else "non_finite" if self.non_finite else "late" if self.late else None
        seen = f"; {what} so far: {getattr(self, what)}" if what else ""
        return f"only {self.run} of {self.settings.selectable_run} usable actions in a row{seen}"
