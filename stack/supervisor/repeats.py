"""Whether a scan says anything that was not heard before: a scanner that hangs, or a recording that is played again,
does not.

    repeats = Repeats()
    repeats.new(scan)  # True: news; False: heard before, or nearly so; None: it shows nothing that could be compared

A living scanner that moves never gives the same distances twice. Three things give it away when it does not live:
- the same scan again, however many others came in between (a recording in a loop);
- nearly the same scan as one of the last ones: fewer than `_LIVE_SHARE` of its echoes differ (a driver that renews a
  few beams only);
- where scans differ in an orderly way only, such as those of a hall with two poles or of a simulator without noise,
  only the last `_RECENT` are compared: they may well come back by chance.

A scan without an echo is not compared: an empty hall is the same everywhere, whether its driver writes inf,
`range_max` or a number beyond it.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from stack.supervisor.scan import Scan

_REMEMBERED = 4096
"""Scans whose hash is kept: about seven minutes at 10 Hz."""
_ROWS = 32
"""Scans that are kept whole."""
_RECENT = 5
_LIVE_SHARE = 0.03
_EMPTY = 0  # in place of the hash of a scan without an echo
_VARIED = 8
"""With no more different changes from one scan to the next than this, a scan may come back by chance."""
_STEP_M = 1e-4


class Repeats:
    """The last scans of one scanner."""

    def __init__(self) -> None:
        self._hashes: dict[int, None] = {}
        """In the order in which they came."""
        self._rows = np.zeros((0, 0), dtype=np.uint32)
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._count = 0

    def new(self, scan: Scan) -> bool | None:
        """Whether `scan` says something that none of the remembered ones did. It is remembered itself."""
        echoes = scan.echoes
        count = int(np.count_nonzero(echoes))
        if count == 0:
            known = _EMPTY in self._recent
            self._recent.append(_EMPTY)
            return None if known else True
        # What has no echo is all the same, so that a beam which flickers between inf and NaN is no sign of life.
        distances = np.where(echoes, scan.ranges, np.float32(0.0)).astype(np.float32, copy=False)
        bits = distances.view(np.uint32)
        key = hash(bits.tobytes())
        changed = self._changed(bits)
        least = _LIVE_SHARE * count
        repeated = key in self._recent or bool((changed[:_RECENT] <= least).any())
        if not repeated and (key in self._hashes or bool((changed <= least).any())):
            repeated = self._varied(distances)
        self._remember(key, bits)
        return not repeated

    def _changed(self, bits: NDArray[np.uint32]) -> NDArray[np.int64]:
        """How many beams differ from each of the scans that are kept whole, the newest first."""
        if self._rows.shape[1] != bits.size:
            return np.zeros(0, dtype=np.int64)
        newest = (self._count - 1 - np.arange(min(self._count, _ROWS))) % _ROWS
        return np.asarray(np.count_nonzero(self._rows[newest] != bits, axis=1), dtype=np.int64)

    def _varied(self, distances: NDArray[np.float32]) -> bool:
        """Whether the beams change in so many different ways, from the last scan to this one, that no scan comes back
        by chance.
        """
        if self._rows.shape[1] != distances.size:
            return False
        last = self._rows[(self._count - 1) % _ROWS].view(np.float32)
        changes = np.clip(distances.astype(np.float64) - last, -1e6, 1e6)
        return bool(np.unique(np.round(changes / _STEP_M)).size > _VARIED)

    def _remember(self, key: int, bits: NDArray[np.uint32]) -> None:
        if self._rows.shape[1] != bits.size:
            self._rows = np.zeros((_ROWS, bits.size), dtype=np.uint32)
            self._count = 0
        self._rows[self._count % _ROWS] = bits
        self._count += 1
        self._recent.append(key)
        self._hashes.pop(key, None)
        self._hashes[key] = None
        if len(self._hashes) > _REMEMBERED:
            del self._hashes[next(iter(self._hashes))]
