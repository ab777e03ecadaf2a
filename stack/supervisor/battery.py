"""The level of the battery, out of messages that may say it in percent, slightly above 1, or for two batteries on one
topic.

    battery = Battery(max_age_s)
    fault = battery.hear(level, at_s, pack)  # None, or what is wrong with it
    battery.level                            # 0 to 1; None while unknown

Of several batteries the lowest level counts: the robot stops where the first one is empty. `present` and `voltage`
are not looked at, since many drivers leave them at false and 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

_FULL = 1.05
"""Drivers that measure a fresh battery overshoot: up to here it is full."""
_PERCENT = 105.0
_NEARLY_EMPTY = 5.0
"""A level in percent that was below this can go on below 1 without being a fraction."""
_MOST_PACKS = 16


class _Pack(NamedTuple):
    at_s: float
    level: float | None
    fault: str | None
    in_percent: bool
    """What it says next may be less than 1 and still percent."""


class Battery:
    """The batteries of one topic, told apart by who publishes them and by what they call themselves."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._packs: dict[bytes, _Pack] = {}

    def hear(self, said: float, at_s: float, pack: bytes = b"") -> str | None:
        """Note a level; what is wrong with it, or with another battery that was heard lately."""
        before = self._packs.pop(pack, None)
        in_percent = before is not None and before.in_percent
        fault = _fault(said, in_percent)
        in_percent = fault is not None and 0.0 <= said <= _NEARLY_EMPTY
        self._packs[pack] = _Pack(at_s, None if fault else min(said, 1.0), fault, in_percent)
        for other, newest in list(self._packs.items()):
            if at_s - newest.at_s > self._max_age_s or len(self._packs) > _MOST_PACKS:
                del self._packs[other]
        return next((newest.fault for newest in self._packs.values() if newest.fault), None)

    def forget(self) -> None:
        """Somebody resets: who spoke in percent may have been put right."""
        self._packs.clear()

    @property
    def level(self) -> float | None:
        """The lowest of those that were heard lately; None when one of them is not known."""
        levels = [newest.level for newest in self._packs.values()]
        known = [level for level in levels if level is not None]
        return min(known) if known and len(known) == len(levels) else None


def _fault(said: float, in_percent: bool) -> str | None:
    """Why this is no level from 0 to 1, or None."""
    if _FULL < said <= _PERCENT or (in_percent and 0.0 <= said <= _FULL):
        return f"says {said:g}, which looks like percent; expected 0 to 1: fix the driver"
    if 0.0 <= said <= _FULL:
        return None
    what = f"{said:g}" if math.isfinite(said) else "no number"
    return f"level is not known: it says {what}, expected 0 to 1; fix the driver"
