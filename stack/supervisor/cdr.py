"""The messages that come often, read from their bytes.

rclpy would make a Python object of every field of every point first.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np

from model_registry.core.cdr import Cursor, MalformedMessageError
from model_registry.core.stop_words import LONGEST
from stack.supervisor.actions import MAX_STEPS
from stack.supervisor.limits import Command
from stack.supervisor.odometry import Odometry, pose_of
from stack.supervisor.scan import Scan

_MAX_NAMES = 64
_LONGEST_TEXT = 4 * LONGEST
"""Bytes: no letter takes more than four."""


class Charge(NamedTuple):
    """Of sensor_msgs/BatteryState: `percentage`, and which battery it speaks of (location and serial number)."""

    level: float
    pack: bytes


class Trajectory(NamedTuple):
    """Read a trajectory_msgs/JointTrajectory.

    Header, names, of every point its time (s) and its velocities, and the score that the first one carries.
    """

    stamp_s: float
    header: str
    names: tuple[str, ...]
    times: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    score: float | None


def parse_odometry(data: bytes) -> Odometry:
    """Raises MalformedMessageError."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    frames = (cursor.text(), cursor.text())
    pose = cursor.take("7d")
    cursor.take("288x")  # its covariance
    twist = cursor.take("6d")
    cursor.take("288x")
    return Odometry(
        stamp_s=stamp_ns / 1e9,
        speed=(twist[0], twist[5]),
        content=struct.pack("13d", *pose, *twist),
        sideways=twist[1],
        pose=pose_of(*pose),
        frames=frames,
    )


def parse_scan(data: bytes) -> Scan:
    """Raises MalformedMessageError."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    frame = cursor.text()
    angle_min, angle_max, increment, _, _, range_min, range_max = cursor.take("7f")
    ranges = np.frombuffer(cursor.block(4), dtype=f"{cursor.order}f4")
    return Scan(stamp_ns / 1e9, angle_min, increment, range_min, range_max, ranges, angle_max, frame)


def parse_trajectory(data: bytes) -> Trajectory:
    """Raises MalformedMessageError. More points than an action may have are not read."""
    cursor = Cursor(data)
    stamp_ns = cursor.stamp_ns()
    header = cursor.text()
    names = tuple(cursor.text() for _ in range(_count(cursor, _MAX_NAMES)))
    times: list[float] = []
    values: list[tuple[float, ...]] = []
    score: float | None = None
    for _ in range(_count(cursor, MAX_STEPS + 1)):
        cursor.block(8)  # positions
        velocities = cursor.block(8)
        cursor.block(8)  # accelerations
        effort = cursor.block(8)
        if not times and len(effort) == 8:
            score = _score(*struct.unpack(f"{cursor.order}d", effort))
        seconds, nanoseconds = cursor.take("iI")
        times.append(seconds + nanoseconds * 1e-9)
        values.append(struct.unpack(f"{cursor.order}{len(velocities) // 8}d", velocities))
    return Trajectory(stamp_ns / 1e9, header, names, tuple(times), tuple(values), score)


def _score(number: float) -> float | None:
    """A share of 1, or nothing: whatever else a slot says here is not passed on."""
    return number if math.isfinite(number) and 0.0 <= number <= 1.0 else None


def parse_speed(data: bytes) -> Command:
    """Forward and turning speed of a geometry_msgs/Twist. Raises MalformedMessageError."""
    numbers = Cursor(data).take("6d")
    return numbers[0], numbers[5]


def parse_text(data: bytes) -> str:
    """The text of a std_msgs/String, or as much of it as anybody reads. Raises MalformedMessageError."""
    cursor = Cursor(data)
    (length,) = cursor.take("I")
    return bytes(cursor.rest[: min(length, _LONGEST_TEXT)]).rstrip(b"\0").decode("utf-8", "replace")


def parse_switch(data: bytes) -> bool:
    """A std_msgs/Bool. Raises MalformedMessageError."""
    return bool(Cursor(data).take("B")[0])


def parse_battery(data: bytes) -> Charge:
    """Of a sensor_msgs/BatteryState. Raises MalformedMessageError."""
    cursor = Cursor(data)
    cursor.stamp_ns()
    cursor.text()
    level = float(cursor.take("7f")[6])
    cursor.take("4B")  # status, health, technology, present
    cursor.block(4)  # voltage and temperature of each cell
    cursor.block(4)
    location = cursor.text()
    serial = cursor.text()
    return Charge(level, f"{location}/{serial}".encode())


def _count(cursor: Cursor, most: int) -> int:
    (count,) = cursor.take("I")
    if count > most:
        raise MalformedMessageError(f"message: {count} items where at most {most} are expected; check its publisher")
    return int(count)
