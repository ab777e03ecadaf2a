"""One laser scan, and whether its numbers fit each other.

    scan = Scan(stamp_s, angle_min, angle_increment, range_min, range_max, ranges, angle_max, frame)
    if wrong := contradiction(scan):
        …  # a sentence with the numbers; such a scan is not looked at any further

Every beam is placed by `angle_min` and `angle_increment`. When a driver writes a wrong increment, a wall that stands
ahead is looked for somewhere else and the robot drives into it at full speed. `angle_max` says a second time where
the last beam is, so the two are held against each other.

Drivers disagree on whether `angle_max` is the last beam or one increment behind it, and some round it: a difference
of one and a half increments, and of `_ROUNDED_RAD`, is no contradiction. A negative increment is a scanner that is
mounted upside down. `time_increment`, `scan_time` and `intensities` are not used, so nothing that they say is a
fault.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_BEAMS = 100_000
_SLACK_INCREMENTS = 1.5
_ROUNDED_RAD = 0.01
_LARGEST_ANGLE = 2 * math.tau
"""Angles beyond this, in rad, are taken for degrees."""
_LARGEST_RANGE = float(np.finfo(np.float32).max)
_FAR_BEYOND = 4.0
_DISTINCT = 8
"""So many different distances of more than `_FAR_BEYOND` times `range_max` are echoes in another unit, and no sign for
"no echo".
"""


@dataclass(frozen=True, slots=True)
class Scan:
    """What is used of sensor_msgs/LaserScan: ROS seconds, radians, metres, and `ranges` float32 [beams].

    Without `angle_max` the header cannot be held against the number of beams; a message always has it.
    """

    stamp_s: float
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: NDArray[np.float32]
    angle_max: float | None = None
    frame: str = ""

    @property
    def echoes(self) -> NDArray[np.bool_]:
        """Which beams [beams] met something: neither unreadable nor at the end of the scanner's range, where some
        drivers put what has no echo.
        """
        found: NDArray[np.bool_] = (self.ranges >= self.range_min) & (self.ranges < self.range_max)
        return found


def contradiction(scan: Scan) -> str | None:
    """What about the numbers of a scan cannot be true, as a sentence; None when they fit each other."""
    return _not_a_scan(scan) or _geometry(scan) or _other_unit(scan)


def _not_a_scan(scan: Scan) -> str | None:
    """What no scan can have, whatever the scanner."""
    angles = (scan.angle_min, scan.angle_increment, scan.angle_min if scan.angle_max is None else scan.angle_max)
    if not all(map(math.isfinite, angles)):
        return "cannot be read: its angles are not finite numbers; fix the driver"
    if not 0 < scan.ranges.size <= _MAX_BEAMS:
        return f"cannot be read: {scan.ranges.size} beams, expected 1 to {_MAX_BEAMS}; fix the driver"
    if scan.angle_increment == 0.0:
        return "cannot be read: an angle_increment of 0; fix the driver"
    if not (math.isfinite(scan.range_min) and scan.range_max > scan.range_min >= 0.0):
        return f"cannot be read: range_min {scan.range_min:g} and range_max {scan.range_max:g} m; fix the driver"
    if max(map(abs, angles)) > _LARGEST_ANGLE:
        return f"contradicts itself: an angle of {max(angles, key=abs):g} rad looks like degrees; fix the driver"
    return None


def _geometry(scan: Scan) -> str | None:
    """Whether beams and increment lead where `angle_max` says, at most once around."""
    span = (scan.ranges.size - 1) * scan.angle_increment
    slack = abs(scan.angle_increment)
    words = f"{scan.ranges.size} beams of {scan.angle_increment:.6g} rad cover {span:.4g} rad"
    if abs(span) > math.tau + slack + _ROUNDED_RAD:
        return f"contradicts itself: {words}, and a turn has {math.tau:.4g} rad; fix the driver"
    if scan.angle_max is None:
        return None
    stated = scan.angle_max - scan.angle_min
    if abs(span - stated) > _SLACK_INCREMENTS * slack + _ROUNDED_RAD:
        return f"contradicts itself: {words}, angle_min to angle_max {stated:.4g} rad; fix the driver"
    return None


def _other_unit(scan: Scan) -> str | None:
    """Whether its distances can be metres. What is beyond `range_max` counts as free, so millimetres would open every
    way.
    """
    beyond = min(_FAR_BEYOND * scan.range_max, _LARGEST_RANGE)
    far = scan.ranges[(scan.ranges > beyond) & np.isfinite(scan.ranges)]
    if far.size < _DISTINCT or np.unique(far).size < _DISTINCT:
        return None
    return (
        f"contradicts itself: ranges up to {far.max():.4g} with a range_max of {scan.range_max:.4g} m; fix the driver"
    )
