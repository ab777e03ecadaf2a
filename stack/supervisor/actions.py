"""Actions of a slot: what one message may be, and which step of it is due now.

A message is refused as a whole: nothing is clamped or repaired here, and a step is never repeated after its time.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from stack.supervisor.limits import Command
from stack.supervisor.state import Reason

NAMES = ("linear_x", "angular_z")
MAX_STEPS = 512
_HEADER = re.compile(r"([0-9a-f]{12})/([0-9]{1,19})/([0-9]{1,19})")
_ONLY_STEP_S = 0.05
# One tick of patience after the last step, so that jitter of one tick does not dent the speed.
_STEP_GRACE_S = 0.02


class ActionError(Exception):
    """A message of a known slot process that cannot be used: NON_FINITE or WRONG_WIDTH."""

    def __init__(self, fault: Reason) -> None:
        super().__init__(fault.name)
        self.fault = fault


class ActionAuthor(NamedTuple):
    """Who made an action: its release, process and message.

    The release by 12 hex characters of its digest, the process by its start (monotonic ns).
    """

    release: str
    epoch: int
    seq: int

    @classmethod
    def parse(cls, header: str) -> ActionAuthor | None:
        """Read `<release[:12]>/<epoch>/<seq>`; None when it is anything else."""
        match = _HEADER.fullmatch(header)
        return None if match is None else cls(match[1], int(match[2]), int(match[3]))


@dataclass(frozen=True, slots=True)
class ActionMessage:
    """One JointTrajectory as plain data.

    `values` are K × (m/s, rad/s), due at `times` (s) after `arrival_s`; K = 0 is nothing to do.

    `stamp_s`, that of the oldest input, and `ros_s` are ROS time (s), `arrival_s` is monotonic (s). `score` is what the
    model thinks of its own safety (0 to 1): logged, and nothing else.
    """

    header: str
    stamp_s: float
    names: tuple[str, ...]
    times: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    arrival_s: float
    ros_s: float
    score: float | None = None
    publisher: bytes = b""
    """GID of who sent it."""

    def checked(self) -> ActionMessage:
        """This message, when its shape and numbers are right. Raises ActionError."""
        times = self.times
        fits = self.names == NAMES and len(self.values) == len(times) <= MAX_STEPS
        if not fits or any(len(value) != len(NAMES) for value in self.values):
            raise ActionError(Reason.WRONG_WIDTH)
        if not all(math.isfinite(number) for value in self.values for number in value):
            raise ActionError(Reason.NON_FINITE)
        if any(later <= earlier for earlier, later in pairwise(times)) or (times and times[0] < 0.0):
            raise ActionError(Reason.WRONG_WIDTH)
        return self

    @property
    def void(self) -> bool:
        return not self.times

    @property
    def observed_s(self) -> float:
        """Monotonic time of the oldest input this was derived from."""
        return self.arrival_s - (self.ros_s - self.stamp_s)

    def at(self, now_s: float) -> Command | None:
        """The step that is due, or None before the first and after the last one."""
        times = self.times
        age = now_s - self.arrival_s
        last_s = times[-1] - times[-2] if len(times) > 1 else _ONLY_STEP_S
        if not times or age >= times[-1] + last_s + _STEP_GRACE_S:
            return None
        # A message that arrives while a tick is under way may be newer than the tick's own time.
        index = bisect_right(times, max(age, 0.0)) - 1
        return self.step(index) if index >= 0 else None

    def step(self, index: int) -> Command | None:
        """One step of a checked message, whenever it is due; None after the last."""
        return (self.values[index][0], self.values[index][1]) if index < len(self.values) else None
