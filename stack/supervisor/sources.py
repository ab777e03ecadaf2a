"""The supervisor's own inputs and their ages. A source declared absent in robot.toml is absent; any other that is missing stops the robot."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_registry.core.robot import Robot
from stack.supervisor.limits import Command
from stack.supervisor.settings import Settings
from stack.supervisor.state import NONE, Reason

_STALE = {"scan": Reason.SCAN_STALE, "odom": Reason.ODOM_STALE, "battery": Reason.BATTERY_STALE}


@dataclass
class Source:
    """One input: when it was last heard (monotonic s), and what was wrong with it."""

    required: bool
    max_age_s: float
    arrival_s: float | None = None
    fault: str | None = None

    def stale(self, now_s: float) -> bool:
        late = self.arrival_s is None or now_s - self.arrival_s > self.max_age_s
        return self.required and (late or self.fault is not None)

    def document(self, now_s: float) -> dict[str, object]:
        age = None if self.arrival_s is None else round(max(0.0, now_s - self.arrival_s) * 1e3, 1)
        fault = self.fault
        if self.required and fault is None and self.stale(now_s):
            fault = "never heard" if age is None else "too old"
        return {"required": self.required, "age_ms": age, "max_age_ms": self.max_age_s * 1e3, "fault": fault}


class Sources:
    """Scan, odometry and battery."""

    def __init__(self, robot: Robot, settings: Settings) -> None:
        self._robot = robot
        self._settings = settings
        self.all = {name: Source(s.present, s.max_age_ms / 1e3) for name, s in robot.sources.items()}
        self.speed: Command | None = None
        self.battery: float | None = None
        self._battery_low = False

    def scan(self, now_s: float) -> None:
        self.all["scan"].arrival_s = now_s

    def odom(self, linear: float, angular: float, now_s: float) -> None:
        """Measured speed, m/s and rad/s."""
        source = self.all["odom"]
        source.arrival_s = now_s
        finite = math.isfinite(linear) and math.isfinite(angular)
        source.fault = None if finite else "speed is not finite"
        if finite:
            self.speed = (linear, angular)

    def charge(self, level: float, now_s: float) -> None:
        """Battery level 0 to 1; NaN is unknown, and unknown is a fault of a battery that is not declared absent."""
        source = self.all["battery"]
        source.arrival_s = now_s
        self.battery = level if math.isfinite(level) else None
        source.fault = None if self.battery is not None else "level is not known"

    @property
    def heard_all(self) -> bool:
        return all(source.arrival_s is not None for source in self.all.values() if source.required)

    def reasons(self, now_s: float) -> Reason:
        """The reasons that hold now."""
        found = NONE
        for name, source in self.all.items():
            if source.stale(now_s):
                found |= _STALE[name]
        if self.all["battery"].required and self.battery is not None:
            floor = self._robot.battery_floor + (self._settings.battery_hysteresis if self._battery_low else 0.0)
            self._battery_low = self.battery < floor
            found |= Reason.BATTERY_LOW if self._battery_low else NONE
        return found
