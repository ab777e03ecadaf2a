"""The newest message of each input, and how old it is: by arrival and by its own stamp, because either alone can lie."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Generic, TypeVar

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError

T = TypeVar("T")

FUTURE_S = 0.05  # a stamp further ahead than this comes from another clock


@dataclass(frozen=True)
class Arrived(Generic[T]):
    """A value, when it arrived (monotonic s) and its ROS stamp (ns)."""

    value: T
    at: float
    stamp_ns: int
    number: int


class Latest(Generic[T]):
    """Keeps the newest value of one source. One thread writes; others `get` what it replaces in one step."""

    def __init__(self, max_age_s: float = math.inf) -> None:
        self._max_age_s = max_age_s
        self._newest: Arrived[T] | None = None
        self.received = 0
        self.rejected = 0
        self.error: str | None = None

    def put(self, value: T, now: float, stamp_ns: int) -> None:
        self.received += 1
        self._newest = Arrived(value, now, stamp_ns, self.received)

    def reject(self, error: HomeportError) -> None:
        """Count a message that cannot be used and remember why."""
        self.rejected += 1
        self.error = str(error)

    def get(self) -> Arrived[T] | None:
        return self._newest

    def fault(self, now: float, ros_now_ns: int) -> str | None:
        """Why the newest value must not be used: `missing`, `stale`, `stale_stamp` or `future_stamp`; None when it may."""
        newest = self.get()
        if newest is None:
            return "missing"
        if now - newest.at > self._max_age_s:
            return "stale"
        age_s = (ros_now_ns - newest.stamp_ns) / 1e9
        if age_s > self._max_age_s:
            return "stale_stamp"
        return "future_stamp" if age_s < -FUTURE_S else None

    def to_dict(self, now: float) -> dict[str, object]:
        """This source in the slot status."""
        newest = self.get()
        age_ms = None if newest is None else max(0.0, (now - newest.at) * 1e3)
        return {"age_ms": age_ms, "received": self.received, "rejected": self.rejected, "error": self.error}


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


def selects(state: str, slot: str, release: str) -> bool:
    """Whether a message on `/safety/state` says that this slot drives, with this release. Unknown keys are for others."""
    try:
        selected = json.loads(state)["selected"]
        return selected is not None and (selected["slot"], selected["release"]) == (slot, release)
    except (ValueError, KeyError, TypeError):
        return False
