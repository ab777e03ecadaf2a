"""Maintenance windows: the hours in which this robot may be switched, in the time zone of its site.

What is not known keeps them closed.

A window opens at a time on the wall and lasts for real time. A time that the clock skips in spring is the one as long
after the change; of one that it shows twice in autumn the first counts. Zones are looked up when they are needed: a
robot whose zone data is gone drives on, and says so.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo

from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.layout import Layout
from stack.agent.machine.clock import Clock

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_FOR = re.compile(r"([1-9]\d{0,3})(h|m)")
_LONGEST = timedelta(hours=24)


def _days(item: object, path: str) -> tuple[int, ...]:
    """`sat`, or a range such as `fri-mon`, as numbers from monday = 0."""
    first, _, last = str(item).partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise UsageError(f"{path}: expected a day such as sat or days such as mon-fri, got {item!r}")
    begin = DAYS.index(first)
    count = (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
    return tuple((begin + number) % 7 for number in range(count))


@dataclass(frozen=True, slots=True)
class Window:
    """On these weekdays (monday = 0) it opens at `at` in the zone `tz` and lasts for `lasts`, at most a day."""

    days: frozenset[int]
    at: time
    lasts: timedelta
    tz: str

    @classmethod
    def read(cls, reader: Reader) -> Window:
        """Raises UsageError naming the key."""
        days = [day for some in reader.items("days", _days) for day in some]
        text = reader.text("at")
        length = reader.text("for")
        at = _AT.fullmatch(text)
        lasts = _FOR.fullmatch(length)
        if not days:
            raise UsageError(f'{reader.path}.days: expected at least one day, such as ["mon-fri"]')
        if at is None:
            raise UsageError(f'{reader.path}.at: expected a time such as "02:00", got {text!r}')
        duration = timedelta()
        if lasts is not None:
            count = int(lasts[1])
            duration = timedelta(hours=count) if lasts[2] == "h" else timedelta(minutes=count)
        if not timedelta() < duration <= _LONGEST:
            raise UsageError(
                f'{reader.path}.for: expected hours or minutes such as "3h" or "90m", at most 24h, got {length!r}'
            )
        return cls(frozenset(days), time(int(at[1]), int(at[2])), duration, reader.text("tz"))

    def zone(self) -> tzinfo:
        """Raises HomeportError when this robot does not know the zone."""
        if self.tz == "UTC":
            return timezone.utc
        try:
            return zoneinfo.ZoneInfo(self.tz)
        except (KeyError, ValueError, OSError):
            if zoneinfo.available_timezones():
                raise HomeportError(
                    f"tz {self.tz!r}: no time zone of this robot; use a name such as Europe/Berlin"
                ) from None
            raise HomeportError(
                f'tz {self.tz!r}: this robot has no time zone data; install the package tzdata, or use tz = "UTC"'
            ) from None

    def openings(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """When it opens and closes, from the day before yesterday until a week ahead. Raises HomeportError."""
        zone = self.zone()
        today = now.astimezone(zone).date()
        for day in (today + timedelta(days=ahead) for ahead in range(-2, 9)):
            if day.weekday() in self.days:
                opens = datetime.combine(day, self.at, zone).astimezone(timezone.utc)
                yield opens.astimezone(zone), (opens + self.lasts).astimezone(zone)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether a window is open; if not, why.

    `next` is when one opens next, with the offset of its zone, where that is known.
    """

    open: bool
    reason: str | None
    next: str | None


def outlook(windows: Iterable[Window], layout: Layout, clock: Clock | None = None) -> Outlook | None:
    """None when this robot has no windows, which is the same as one that is always open."""
    windows = tuple(windows)
    clock = clock or Clock()
    if not windows:
        return None
    if (doubt := clock.doubt(layout)) is not None:
        return Outlook(False, f"its clock {doubt}", None)
    now = datetime.fromtimestamp(clock.now(), timezone.utc)
    try:
        openings = [opening for window in windows for opening in window.openings(now)]
    except HomeportError as error:
        return Outlook(False, f"its windows are not known: {error}", None)
    after = min(opens for opens, _ in openings if opens > now).isoformat(timespec="minutes")
    if any(opens <= now < closes for opens, closes in openings):
        return Outlook(True, None, after)
    return Outlook(False, f"its window is closed, the next one opens {after}", after)


def window_document(windows: Iterable[Window], layout: Layout) -> dict[str, object] | None:
    """Schema agent, `window`; None for a robot without windows."""
    seen = outlook(windows, layout)
    return None if seen is None else asdict(seen)
