"""What the supervisor knows about one slot, whether it drives or not.

A slot that does not drive is a shadow: its actions are checked, counted and compared here, and have no other way to go.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from model_registry.core.robot import ACTION_MAX_AGE_S, Limits
from stack.supervisor.actions import ActionAuthor, ActionError, ActionMessage
from stack.supervisor.clock import STAMP_FUTURE_S, ClockWatch
from stack.supervisor.limits import Command, exceeds, within
from stack.supervisor.state import NONE, Reason, names

SILENCE_S = 0.1
"""No message of the selected slot for this long commands zero, however many steps remain."""
_SELECTABLE_RUN = 20
_EXCESS = 1.1  # times a limit: a request above counts as out of limits
_EXCESS_WINDOW = 25
_EXCESS_FORGOTTEN_S = 10.0
_DISAGREEMENT = 0.2  # part of the limit by which two slots must differ to count as disagreeing


@dataclass
class Disagreement:
    """How far a shadow is from the driver.

    The mean difference (m/s, rad/s), how often it was more than a part of the limit, and how old the shadow's
    observations were (s).
    """

    samples: int = 0
    linear: float = 0.0
    angular: float = 0.0
    far: int = 0
    age_s: float = 0.0

    def add(self, mine: Command, driver: Command, age_s: float, limits: Limits) -> None:
        # A request beyond twice the limits is as far away as can be, and sums stay finite.
        difference = (
            abs(within(mine[0], 2 * limits.linear) - within(driver[0], 2 * limits.linear)),
            abs(within(mine[1], 2 * limits.angular) - within(driver[1], 2 * limits.angular)),
        )
        self.samples += 1
        self.linear += difference[0]
        self.angular += difference[1]
        self.age_s += age_s
        self.far += exceeds(difference, limits, _DISAGREEMENT)

    def document(self) -> dict[str, object] | None:
        if not self.samples:
            return None
        sums = {
            "linear_mean": self.linear,
            "angular_mean": self.angular,
            "rate": self.far,
            "latency_ms": self.age_s * 1e3,
        }
        return {"samples": self.samples, **{name: total / self.samples for name, total in sums.items()}}


@dataclass
class SlotView:
    """One slot's newest process.

    Everything is counted from that process's first message; times are monotonic seconds.
    """

    limits: Limits
    release: str | None = None
    epoch: int = -1
    publisher: bytes = b""
    """GID of the publisher whose actions these are; an epoch belongs to one."""
    seq: int = -1
    arrival_s: float | None = None
    actions: int = 0
    run: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Actions that were `non_finite`, `wrong_width`, `late` or `limited` (asked for too much)."""
    chunk: ActionMessage | None = None
    fresh: Reason = NONE
    """What went wrong since the last tick, or with the newest message; ACTION_STALE is by `late_by_s`."""
    fault: Reason = NONE
    """What is wrong with the newest message.

    It lasts until another one comes, so that a slot that goes on like that is one event.
    """
    late_by_s: float = 0.0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_EXCESS_WINDOW))
    """For each of the last messages with which it drove, whether it asked for too much."""
    drove_s: float = float("-inf")
    """When it drove last."""
    shuts_out: bool = False
    """Somebody with an older epoch wants to speak, perhaps the real process of this slot."""
    disagreement: Disagreement = field(default_factory=Disagreement)
    failed: str | None = None
    oldest_s: float = ACTION_MAX_AGE_S
    """How old an observation may be that an action is derived from."""
    """By which metric it failed its probation; such a process is not selected again."""

    def is_rival(self, publisher: bytes, at_s: float) -> bool:
        """Whether somebody else publishes as this slot while it speaks.

        Once it is silent, another process may take its place.
        """
        return publisher != self.publisher and self.alive(at_s)

    def drive(self, now_s: float) -> None:
        """It drives now. What it asked for the last time it drove counts still, unless that is long ago."""
        if now_s - self.drove_s > _EXCESS_FORGOTTEN_S:
            self.recent.clear()
        self.drove_s = now_s

    def accept(self, message: ActionMessage, clock: ClockWatch, expects_motion: bool, drives: bool = True) -> bool:
        """Take one message; True when it was a new one of the newest process.

        `expects_motion`: the driver is moving for the command in force, so an empty action breaks the run. `drives`: it
        is the driver.
        """
        identity = ActionAuthor.parse(message.header)
        if identity is None or not self._is_newest(identity, message):
            return False
        if self.arrival_s is not None and message.arrival_s - self.arrival_s > SILENCE_S:
            self.run = 0
        self.arrival_s = message.arrival_s
        self.seq = identity.seq
        self.actions += 1
        self.fault = NONE
        self.chunk = self._usable(message, clock)
        self.fresh |= self.fault
        self.run = 0 if self.chunk is None or (self.chunk.void and expects_motion) else self.run + 1
        first = None if self.chunk is None else self.chunk.step(0)
        excess = first is not None and exceeds(first, self.limits, _EXCESS)
        self.counts["limited"] += excess
        if drives:
            self.recent.append(excess)
        return True

    def _is_newest(self, identity: ActionAuthor, message: ActionMessage) -> bool:
        arrival_s = message.arrival_s
        if identity.epoch == self.epoch:
            same = identity.release == self.release and message.publisher == self.publisher
            return same and identity.seq > self.seq
        # An epoch is a start time on this computer's monotonic clock: one from the future would shut out every later
        # process.
        if identity.epoch < self.epoch or identity.epoch > (arrival_s + 1.0) * 1e9:
            self.shuts_out = True
            return False
        fresh = self.fresh  # what the process before has done since the last tick is not forgotten
        new = SlotView(self.limits, identity.release, identity.epoch, message.publisher, oldest_s=self.oldest_s)
        vars(self).update(vars(new), fresh=fresh)
        return True

    def _usable(self, message: ActionMessage, clock: ClockWatch) -> ActionMessage | None:
        """The message, or None when it cannot be read, or its stamp is too old or in the future."""
        try:
            message.checked()
        except ActionError as error:
            self.fault = error.fault
            self.counts[names(error.fault)[0]] += 1
            return None
        age_s = message.ros_s - message.stamp_s
        if message.void or -STAMP_FUTURE_S <= age_s <= self.oldest_s:
            return message
        if not clock.excuses(message.arrival_s):
            self.counts["late"] += 1
            self.late_by_s = age_s
            self.fault = Reason.ACTION_STALE
        return None

    def age_s(self, now_s: float) -> float | None:
        """Time since the last message."""
        return None if self.arrival_s is None else max(0.0, now_s - self.arrival_s)

    def alive(self, now_s: float) -> bool:
        age = self.age_s(now_s)
        return age is not None and age <= SILENCE_S

    def due(self, now_s: float) -> Command | None:
        """The step to apply now, or None when there is none."""
        return self.chunk.at(now_s) if self.chunk is not None and self.alive(now_s) else None

    def observed_age_s(self, now_s: float) -> float:
        """Age of the oldest input of what it says now; 0 when it says nothing."""
        chunk = self.chunk if self.alive(now_s) else None
        return 0.0 if chunk is None or chunk.void else now_s - chunk.observed_s

    def refusal(self, now_s: float) -> str | None:
        """Why this slot cannot be selected now; None when it can."""
        if self.release is None:
            return "it has sent no action"
        if self.failed:
            return f"release {self.release} failed its probation by {self.failed}"
        if not self.alive(now_s):
            older = (
                "; another process speaks with an older epoch: reset when it is the right one" if self.shuts_out else ""
            )
            return f"its last action is {self.age_s(now_s) or 0.0:.1f} s old{older}"
        if self.run >= _SELECTABLE_RUN:
            return None
        what = next((name for name in ("wrong_width", "non_finite", "late") if self.counts[name]), None)
        seen = f"; {what} so far: {self.counts[what]}" if what else ""
        return f"only {self.run} of {_SELECTABLE_RUN} usable actions in a row{seen}"
