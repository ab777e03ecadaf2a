"""A room with straight walls and round poles, and what a body and a scanner meet in it, in metres and radians."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_registry.core.robot import Footprint, Lidar

Floats = NDArray[np.float64]


class RoomPose(NamedTuple):
    """Where the point is that the body turns about, and where its front looks to."""

    x: float
    y: float
    heading: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the body's frame is in the room."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return self.x + cos * x - sin * y, self.y + sin * x + cos * y


@dataclass
class Pole:
    """A round thing; one with a speed (m/s) crosses the room."""

    x: float
    y: float
    radius: float
    speed: tuple[float, float] = (0.0, 0.0)
    seen: bool = False
    """Whether a beam that the supervisor could read has met it."""

    @property
    def crosses(self) -> bool:
        return self.speed != (0.0, 0.0)

    def gap_m(self, body: Footprint, pose: RoomPose) -> float:
        """From the body's outline, negative when they touch."""
        dx, dy = self.x - pose.x, self.y - pose.y
        if body.round:
            return math.hypot(dx, dy) - body.half_width - self.radius
        cos, sin = math.cos(pose.heading), math.sin(pose.heading)
        x, y = dx * cos + dy * sin, dy * cos - dx * sin
        aside_x = max(x - body.front, -body.rear - x)
        aside_y = abs(y) - body.half_width
        outside = math.hypot(max(aside_x, 0.0), max(aside_y, 0.0))
        return outside + min(max(aside_x, aside_y), 0.0) - self.radius


@dataclass
class Room:
    """Four walls, `length` by `width` around the origin, and poles."""

    length: float
    width: float
    poles: list[Pole] = field(default_factory=list)

    def move(self, seconds: float) -> None:
        """Let what crosses the room go on."""
        for pole in self.poles:
            pole.x += pole.speed[0] * seconds
            pole.y += pole.speed[1] * seconds

    def wall_gap_m(self, body: Footprint, pose: RoomPose) -> float:
        """From the body's outline to the nearest wall."""
        if body.round:
            x, y, reach = abs(pose.x), abs(pose.y), body.half_width
            return min(self.length / 2 - x, self.width / 2 - y) - reach
        corners = [pose.place(x, y) for x in (body.front, -body.rear) for y in (body.half_width, -body.half_width)]
        return min(min(self.length / 2 - abs(x), self.width / 2 - abs(y)) for x, y in corners)

    def echoes(self, x: float, y: float, angles: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """How far light goes from a point in these directions, and which pole it meets there (-1: a wall)."""
        cos, sin = np.cos(angles), np.sin(angles)
        with np.errstate(divide="ignore"):
            to_wall = np.minimum(
                (np.copysign(self.length / 2, cos) - x) / cos, (np.copysign(self.width / 2, sin) - y) / sin
            )
        if not self.poles:
            return to_wall, np.full(angles.size, -1)
        dx, dy, radius = np.array([(pole.x - x, pole.y - y, pole.radius) for pole in self.poles]).T[:, :, None]
        along, aside = dx * cos + dy * sin, dy * cos - dx * sin
        met = (along > 0.0) & (np.abs(aside) < radius)
        to_poles = np.where(met, along - np.sqrt(np.maximum(radius**2 - aside**2, 0.0)), np.inf)
        nearest = to_poles.argmin(axis=0)
        to_pole = to_poles[nearest, np.arange(angles.size)]
        return np.minimum(to_wall, to_pole), np.where(to_pole < to_wall, nearest, -1)


@dataclass(frozen=True)
class Scanner:
    """A scanner on a body: `beams` over a `field` (rad), from `range_min` to `range_max`; nearer it says `near`."""

    mount: Lidar
    beams: int
    field: float
    range_min: float
    range_max: float = 8.0
    near: float = math.nan
    scatter: float = 0.002
    """Standard deviation of a range, m."""

    @property
    def described(self) -> str:
        return f"{self.beams} beams over {math.degrees(self.field):.0f} degrees from {self.range_min:.2f} m"

    @property
    def increment(self) -> float:
        gaps = self.beams if self.field > math.radians(359.0) else self.beams - 1
        return self.field / gaps

    @property
    def angles(self) -> Floats:
        """Of the beams, in the scanner's frame."""
        return -self.field / 2 + self.increment * np.arange(self.beams)

    def ranges(self, room: Room, pose: RoomPose, chance: np.random.Generator) -> tuple[NDArray[np.float32], list[Pole]]:
        """A scan from this pose, and the poles that it shows."""
        x, y = pose.place(self.mount.x, self.mount.y)
        echoes, met = room.echoes(x, y, self.angles + self.mount.yaw + pose.heading)
        told = echoes + chance.normal(0.0, self.scatter, echoes.size)
        near = told < self.range_min
        told[near] = self.near
        told[told > self.range_max] = math.inf
        shown = [room.poles[index] for index in np.unique(met[~near & np.isfinite(told)]) if index >= 0]
        return told.astype(np.float32), shown
