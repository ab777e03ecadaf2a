"""What a scan has shown and the next one does not: it stays where it was until light goes through its place.

A thin thing vanishes between two beams, inside of the scanner's shortest range, in a beam that cannot be read and
beside the field of view. So a point is forgotten only when a scan shows something else there, or when beams that would
have met the thing go through its place: two neighbours that are no farther apart than it is wide, the same beam again
while the body stands still, or several closely on both sides while it moves. A beam tells nothing of a place that is
nearer than the shortest range. Points are kept in the frame of the start (reckoning.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stack.supervisor.reckoning import BodyPose, Floats, Points

_THINNEST_M = 0.005
"""How wide a thing is taken for that one beam has met and its neighbours have not."""
_TOLERANCE_M = 0.05
"""Of a range and a pose together: a beam that ends this much behind a place has gone through it."""
_EDGE_M = 0.015
"""A place this little beyond the shortest range may as well be nearer."""
_SAME_M = 0.03
"""An echo this near to a place is that of the same thing."""
_ONE_THING_M = 0.3  # two neighbours that differ by less show one surface
_WIDER = 1.2
_PASSES = 3
"""Beams that have to go closely by a place on each side of it. One or two may miss a thin thing: its pose drifts."""
_APART_M = 0.001  # beams that pass a place less apart than this are the same one
_STILL_M = 1e-4  # a body that has gone no farther stands still
_BETWEEN_S = 60.0
"""How long a thing is believed that could only be between two beams."""
_MOST = 400
_X, _Y, _WIDTH, _LEFT, _RIGHT, _ASIDE, _AT, _TRAVELLED = range(8)
_ROWS = 8


class Beams(NamedTuple):
    """A scan as the memory reads it, in metres and radians.

    A range is inf where nothing is and NaN where nothing is told; one NaN more stands behind the last beam.
    """

    ranges: Floats
    angle_min: float
    increment: float
    range_min: float

    @property
    def end(self) -> int:
        """The index behind the last beam."""
        return self.ranges.size - 1

    def widths(self) -> Floats:
        """How wide (m) the thing at least is that each beam has met: as far as the beams beside it have met it too."""
        ranges = self.ranges[:-1]
        step = abs(self.increment)
        with np.errstate(invalid="ignore", over="ignore"):
            aside = ranges[1:] * step
            same = np.isfinite(ranges[1:]) & (np.abs(np.diff(ranges)) <= np.maximum(_TOLERANCE_M, 3.0 * aside))
        span = np.where(same, aside, 0.0)
        widths: Floats = np.maximum(_THINNEST_M, np.append(span, 0.0) + np.append(0.0, span))
        return widths


class Memory:
    """The points that outlast a scan. `look` and then `note` are called for every scan."""

    def __init__(self) -> None:
        self._kept = self._noted = np.zeros((_ROWS, 0))

    @property
    def points(self) -> Points:
        """What is remembered beside the newest scan."""
        return self._kept[_X], self._kept[_Y]

    def look(self, beams: Beams, eye: BodyPose, now_s: float, travelled_m: float) -> None:
        """Forget what a scan shows itself, and what it shows to be gone.

        `eye` is the scanner's pose, `travelled_m` how far the body has gone in all.
        """
        points = np.concatenate((self._kept, self._noted), axis=1)
        self._kept, self._noted = points, np.zeros((_ROWS, 0))
        if not points.size:
            return
        x, y = eye.into((points[_X], points[_Y]))
        distance = np.hypot(x, y)
        before, after, to_before, to_after = _beside(beams, np.arctan2(y, x))
        within_reach = distance - _EDGE_M >= beams.range_min
        with np.errstate(invalid="ignore"):
            through_before = within_reach & (before > distance + _TOLERANCE_M)
            through_after = within_reach & (after > distance + _TOLERANCE_M)
            between = before + (after - before) * to_before / (to_before + to_after)
            shown = (np.abs(after - before) < _ONE_THING_M) & (np.abs(between - distance) <= _SAME_M)
        shown |= _shown(before, distance, to_before) | _shown(after, distance, to_after)
        both = through_before & through_after
        gone = both & ((to_before + to_after) * distance <= points[_WIDTH] * _WIDER)
        gone |= both & (now_s - points[_AT] > _BETWEEN_S)
        nearer = to_before <= to_after
        aside = np.where(nearer, to_before, -to_after) * distance
        gone |= _passed(points, np.where(nearer, through_before, through_after), aside, travelled_m)
        self._kept = points[:, ~(shown | gone)]

    def keep(self, places: NDArray[np.bool_], distance: Floats) -> None:
        """Forget all but these of the points, and of those all but the nearest."""
        points = self._kept[:, places]
        distance = distance[places]
        self._kept = points[:, np.argsort(distance)[:_MOST]] if distance.size > _MOST else points

    def note(self, points: Points, widths: Floats, now_s: float, travelled_m: float) -> None:
        """Things that the newest scan shows, which the next one may not."""
        new = np.zeros((_ROWS, widths.size))
        new[_X], new[_Y], new[_WIDTH], new[_ASIDE], new[_AT], new[_TRAVELLED] = (
            *points,
            widths,
            math.inf,
            now_s,
            travelled_m,
        )
        self._noted = new


def _beside(beams: Beams, bearings: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """What the beams before and after each bearing tell (m, NaN: nothing), and how far (rad) they are from it."""
    step = abs(beams.increment)
    last = beams.end
    around = math.tau / step
    index = np.nan_to_num(((bearings - beams.angle_min) / beams.increment) % around)
    first = np.floor(np.minimum(index, last)).astype(np.int64)
    before = first
    after = np.where(first + 1 < last, first + 1, np.where(around - index <= 1.0, 0, last))
    past = (index - first) * step
    return beams.ranges[before], beams.ranges[after], past, step - past


def _passed(points: Floats, through: NDArray[np.bool_], aside: Floats, travelled_m: float) -> NDArray[np.bool_]:
    """Whether enough beams have gone closely by each point; this one does so `aside` (m, left or right) of it."""
    through = through & (np.abs(aside) <= _THINNEST_M)
    another = through & (np.abs(aside - points[_ASIDE]) >= _APART_M)
    same = through & (np.abs(aside) <= _APART_M) & (travelled_m - points[_TRAVELLED] <= _STILL_M)
    points[_LEFT] += (another & (aside > 0.0)) | same
    points[_RIGHT] += (another & (aside <= 0.0)) | same
    points[_ASIDE] = np.where(another, aside, points[_ASIDE])
    passed: NDArray[np.bool_] = np.minimum(points[_LEFT], points[_RIGHT]) >= _PASSES
    return passed


def _shown(told: Floats, distance: Floats, aside: Floats) -> NDArray[np.bool_]:
    """Whether a beam shows the thing itself."""
    with np.errstate(invalid="ignore"):
        shown: NDArray[np.bool_] = (np.abs(told - distance) <= _SAME_M) & (distance * aside <= _SAME_M)
    return shown
