"""The supervisor's own inputs and their ages. A source declared absent in robot.toml is absent; any other that is missing stops the robot."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_registry.core.robot import Robot
from stack.supervisor.limits import Command
from stack.supervisor.state import NONE, Reason

_STALE = {"scan": Reason.SCAN_STALE, "odom": Reason.ODOM_STALE, "battery": Reason.BATTERY_STALE}
_BATTERY_HYSTERESIS = 0.05


@dataclass
class Source:
    """One input. `heard`: when (monotonic s), and what was wrong with it; one tuple, so that the other thread sees both or neither."""

    required: bool
    max_age_s: float
    heard: tuple[float, str | None] | None = None

    def fault(self, now_s: float) -> str | None:
        """What is wrong now; None when nothing is, or the source is declared absent."""
        if not self.required:
            return None
        if self.heard is None:
            return "never heard"
        at_s, fault = self.heard
        return fault or ("too old" if now_s - at_s > self.max_age_s else None)

    def document(self, now_s: float) -> dict[str, object]:
        age = None if self.heard is None else round(max(0.0, now_s - self.heard[0]) * 1e3, 1)
        fault = self.fault(now_s)
        return {"required": self.required, "age_ms": age, "max_age_ms": self.max_age_s * 1e3, "fault": fault}


class Sources:
    """Scan, odometry and battery. `scan`, `odom` and `charge` only store, and may be called from any thread."""

    def __init__(self, robot: Robot) -> None:
        self.all = {name: Source(s.present, s.max_age_ms / 1e3) for name, s in robot.sources.items()}
        self.speed: Command | None = None
        self.battery: float | None = None
        self._battery_floor = robot.battery_floor
        self._battery_low = False

    def scan(self, now_s: float) -> None:
        self.all["scan"].heard = (now_s, None)

    def odom(self, linear: float, angular: float, now_s: float) -> None:
        """Measured speed, m/s and rad/s."""
        finite = math.isfinite(linear) and math.isfinite(angular)
        if finite:
            self.speed = (linear, angular)
        self.all["odom"].heard = (now_s, None if finite else "speed is not finite")

    def charge(self, level: float, now_s: float) -> None:
        """Battery level 0 to 1; NaN is unknown, and unknown is a fault of a battery that is not declared absent."""
        known = math.isfinite(level)
        self.battery = level if known else None
        self.all["battery"].heard = (now_s, None if known else "level is not known")

    @property
    def heard_all(self) -> bool:
        return all(source.heard is not None for source in self.all.values() if source.required)

    def reasons(self, now_s: float) -> Reason:
        """The reasons that hold now."""
        found = NONE
        for name, source in self.all.items():
            if source.fault(now_s):
                found |= _STALE[name]
        level = self.battery
        if self.all["battery"].required and level is not None:
            self._battery_low = level < self._battery_floor + _BATTERY_HYSTERESIS * self._battery_low
            found |= Reason.BATTERY_LOW if self._battery_low else NONE
        return found
