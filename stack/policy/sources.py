"""The newest message of each input, and how old it is.

Age is told by arrival and by the message's own stamp, because either alone can lie.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError

T = TypeVar("T")

FUTURE_S = 0.05  # a stamp further ahead than this comes from another clock
_SAMPLES = 8
"""How many different samples are remembered: a few old pictures that are shown in turn are as frozen as one."""


@dataclass(frozen=True)
class Received(Generic[T]):
    """A value, when it arrived (monotonic s) and its ROS stamp (ns).

    `mark` is how many action steps had been consumed by then.
    """

    value: T
    at: float
    stamp_ns: int
    number: int
    mark: int = 0


class Latest(Generic[T]):
    """Keeps the newest value of one source. One thread writes; others `get` what it replaces in one step.

    Without `stamps` a value is as old as its arrival says, and `stamp_ns` is then when it arrived, in ROS time. A
    source is frozen when `frozen_after` values in a row had the same sample as one of the last few, whatever their
    stamps; 0 never looks.
    """

    def __init__(self, max_age_s: float = math.inf, frozen_after: int = 0, *, stamps: bool = True) -> None:
        self.max_age_s = max_age_s
        self.stamps = stamps
        self._frozen_after = frozen_after
        self._newest: Received[T] | None = None
        self._samples: deque[bytes] = deque(maxlen=_SAMPLES)
        self._repeats = 0
        self._refused_at: float | None = None
        self.received = 0
        self.rejected = 0
        self.error: str | None = None
        self.interval_s = 0.0
        self.valid: float | None = None

    def put(
        self, value: T, now: float, stamp_ns: int, *, mark: int = 0, sample: bytes = b"", valid: float | None = None
    ) -> None:
        """Take a value. `sample` is compared with the last few; `valid` is the fraction of it that says anything."""
        if self._newest is not None:  # the mean of about the last ten
            self.interval_s += ((now - self._newest.at) - self.interval_s) * (0.1 if self.interval_s else 1.0)
        if sample and sample in self._samples:
            self._repeats += 1
        else:
            self._repeats = 0
            self._samples.append(sample)
        self.valid = valid
        self.received += 1
        self._newest = Received(value, now, stamp_ns, self.received, mark)

    def reject(self, error: HomeportError, now: float) -> None:
        """Count a message that cannot be used and remember why."""
        self.rejected += 1
        self.error = str(error)
        self._refused_at = now

    def get(self) -> Received[T] | None:
        return self._newest

    @property
    def refused(self) -> bool:
        """Whether the last message could not be used."""
        newest = self.get()
        refused_at = self._refused_at
        return refused_at is not None and (newest is None or refused_at >= newest.at)

    def silent(self, now: float) -> bool:
        """Whether nothing has come for longer than it may be old."""
        newest = self.get()
        return newest is None or now - newest.at > self.max_age_s

    def fault(self, now: float, ros_now_ns: int) -> str | None:
        """Why the newest value must not be used, one of the words in faults.py; None when it may.

        A stamp of the future is told by the clock as it was when the message came: waiting makes it no better.
        """
        newest = self.get()
        if newest is None or self.silent(now):
            if self.refused and now - (self._refused_at or 0.0) <= self.max_age_s:
                return "unreadable"
            return "missing" if newest is None else "stale"
        age_s = (ros_now_ns - newest.stamp_ns) / 1e9
        if self.stamps and age_s > self.max_age_s:
            return "stale_stamp"
        if self.stamps and age_s - (now - newest.at) < -FUTURE_S:
            return "future_stamp"
        if self._frozen_after and self._repeats >= self._frozen_after:
            return "frozen"
        return "blind" if self.valid == 0.0 else None

    def to_dict(self, now: float) -> dict[str, object]:
        """The figures of this source in the slot status."""
        newest = self.get()
        age_ms = None if newest is None else max(0.0, (now - newest.at) * 1e3)
        return {"age_ms": age_ms, "received": self.received, "rejected": self.rejected, "valid": self.valid}


@dataclass(frozen=True)
class Command:
    """The accepted voice command. `ends_at` (monotonic s) is None when it holds until it is replaced."""

    text: str
    ends_at: float | None

    @classmethod
    def parse(cls, data: str, now: float) -> Command:
        """Read a message on `/command`. Raises UsageError naming the field."""
        reader = Reader(parse(data.encode(), "command", 4096), "command")
        left_s = reader.number("remaining_s", 0.0) if reader.has("remaining_s") else None
        reader.integer("seq")
        command = cls(reader.text("text"), None if left_s is None else now + left_s)
        reader.done()
        return command

    def holds(self, now: float) -> bool:
        return self.ends_at is None or now < self.ends_at


@dataclass(frozen=True)
class Order:
    """A command, and whether it can move the robot. `generation` rises whenever the robot had none that moves it."""

    command: Command
    moves: bool
    generation: int


def selects(state: str, slot: str, release: str) -> bool:
    """Whether a message on `/safety/state` says that this slot drives, with this release.

    Unknown keys are for others.
    """
    try:
        selected = json.loads(state)["selected"]
        return selected is not None and (selected["slot"], selected["release"]) == (slot, release)
    except (ValueError, KeyError, TypeError):
        return False
