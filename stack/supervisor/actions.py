"""Actions of a slot: what one message may be, and which step of it is due now.

A message is refused as a whole: nothing is clamped or repaired here, and a step is never repeated after its time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from stack.supervisor.settings import Settings

NAMES = ("linear_x", "angular_z")
MAX_STEPS = 512
_MAX_HEADER = 80


class Fault(Enum):
    """Why a message cannot be used."""

    NON_FINITE = "non_finite"
    WRONG_WIDTH = "wrong_width"


class ActionError(Exception):
    """A message of a known slot process that cannot be used."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class ActionMessage:
    """The fields of one JointTrajectory as plain data. `stamp_s` and `ros_s` are ROS time (s), `arrival_s` is monotonic (s)."""

    header: str
    stamp_s: float
    names: tuple[str, ...]
    times: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    arrival_s: float
    ros_s: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who made an action: the first 12 hex characters of its release, the process (start in monotonic ns), the message."""

    release: str
    epoch: int
    seq: int

    @classmethod
    def parse(cls, header: str) -> Identity | None:
        """Read `<release[:12]>/<epoch>/<seq>`; None when it is anything else."""
        parts = header.split("/") if len(header) <= _MAX_HEADER else []
        if len(parts) != 3 or len(parts[0]) != 12 or set(parts[0]) - set("0123456789abcdef"):
            return None
        if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts[1:]):
            return None
        return cls(parts[0], int(parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True)
class Chunk:
    """The steps of one message: `values` K × (m/s, rad/s), due at `times` (s) after `arrival_s`. No steps: nothing to do."""

    header: str
    times: tuple[float, ...]
    values: tuple[tuple[float, float], ...]
    arrival_s: float
    observed_s: float
    """Monotonic time of the oldest input this was derived from."""
    tail_s: float
    """How long the last step lasts."""

    @property
    def void(self) -> bool:
        return not self.times

    def at(self, now_s: float) -> tuple[float, float] | None:
        """The step that is due, or None before the first and after the last one."""
        age = now_s - self.arrival_s
        if not self.times or age >= self.times[-1] + self.tail_s:
            return None
        # A message that arrives while a tick is under way may be newer than the tick's own time.
        index = bisect_right(self.times, max(age, 0.0)) - 1
        return self.values[index] if index >= 0 else None


def read_chunk(message: ActionMessage, settings: Settings) -> Chunk:
    """Check a message's shape and numbers. Raises ActionError."""
    if message.names != NAMES or len(message.values) != len(message.times) or len(message.times) > MAX_STEPS:
        raise ActionError(Fault.WRONG_WIDTH)
    if any(len(value) != len(NAMES) for value in message.values):
        raise ActionError(Fault.WRONG_WIDTH)
    if not all(math.isfinite(number) for value in message.values for number in value):
        raise ActionError(Fault.NON_FINITE)
    times = message.times
    if any(later <= earlier for earlier, later in pairwise(times)) or (times and times[0] < 0.0):
        raise ActionError(Fault.WRONG_WIDTH)
    step = times[-1] - times[-2] if len(times) > 1 else settings.default_step_s
    return Chunk(
        header=message.header,
        times=times,
        values=tuple((value[0], value[1]) for value in message.values),
        arrival_s=message.arrival_s,
        observed_s=message.arrival_s - (message.ros_s - message.stamp_s),
        tail_s=step + settings.step_grace_s,
    )
