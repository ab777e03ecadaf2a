"""Maintenance windows over spring, autumn and midnight, with clocks and zones that cannot be believed.

No test reads this machine's clock.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError
from model_registry.core.layout import Layout
from stack.agent.machine.clock import Clock
from stack.agent.settings.windows import Outlook, Window, outlook
from tests.fakes.rig import TOP

NIGHT = {"days": ["mon-fri"], "at": "02:00", "for": "3h", "tz": "Europe/Berlin"}


def read(**change: object) -> Window:
    reader = Reader({**NIGHT, **change}, "agent.toml.windows[0]")
    window = Window.read(reader)
    reader.done()
    return window


def at(moment: str, state: int = 0) -> Clock:
    """A clock that stands at an ISO time of UTC."""
    seconds = datetime.fromisoformat(moment).replace(tzinfo=timezone.utc).timestamp()
    return Clock(lambda: seconds, lambda: state)


def see(tmp_path: Path, moment: str, *windows: Window, state: int = 0) -> Outlook:
    seen = outlook(windows or (read(),), Layout.at(tmp_path), at(moment, state))
    assert seen is not None
    return seen


def test_a_robot_without_windows_is_always_open(tmp_path: Path) -> None:
    assert outlook((), Layout.at(tmp_path), at("1970-01-01T00:00")) is None


@pytest.mark.parametrize(
    ("moment", "is_open", "opens"),
    [
        ("2026-11-26T00:59", False, "2026-11-26T02:00+01:00"),
        ("2026-11-26T01:00", True, "2026-11-27T02:00+01:00"),
        ("2026-11-26T03:59", True, "2026-11-27T02:00+01:00"),
        ("2026-11-26T04:00", False, "2026-11-27T02:00+01:00"),
        ("2026-11-27T04:00", False, "2026-11-30T02:00+01:00"),
    ],
)
def test_a_window_opens_and_closes_by_the_time_of_its_zone(
    tmp_path: Path, moment: str, is_open: bool, opens: str
) -> None:
    seen = see(tmp_path, moment)

    assert (seen.open, seen.next) == (is_open, opens)
    assert seen.reason is None if is_open else opens in str(seen.reason)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opened(tmp_path: Path) -> None:
    friday = read(days=["fri"], at="23:00", tz="UTC")

    assert see(tmp_path, "2026-11-28T01:59", friday).open
    assert not see(tmp_path, "2026-11-28T02:00", friday).open
    assert not see(tmp_path, "2026-11-27T22:59", friday).open


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2027-03-28T00:59", False),
        ("2027-03-28T01:29", False),
        ("2027-03-28T01:30", True),  # 02:30 does not exist on that Sunday: it opens at 03:30 of summer time
        ("2027-03-28T02:29", True),
        ("2027-03-28T02:30", False),
    ],
)
def test_a_time_that_spring_skips_opens_as_long_after_the_change(tmp_path: Path, moment: str, is_open: bool) -> None:
    assert see(tmp_path, moment, read(days=["sun"], at="02:30", **{"for": "60m"})).open is is_open


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-10-25T00:29", False),
        ("2026-10-25T00:30", True),  # the first 02:30, of summer time
        ("2026-10-25T01:29", True),
        ("2026-10-25T01:30", False),  # the second one opens nothing
        ("2026-10-25T02:29", False),
    ],
)
def test_a_time_that_autumn_repeats_opens_once(tmp_path: Path, moment: str, is_open: bool) -> None:
    assert see(tmp_path, moment, read(days=["sun"], at="02:30", **{"for": "60m"})).open is is_open


def test_three_hours_are_three_hours_in_the_night_of_the_change(tmp_path: Path) -> None:
    saturday = read(days=["sat"], at="23:00")

    assert see(tmp_path, "2027-03-27T22:00", saturday).open and see(tmp_path, "2027-03-28T00:59", saturday).open
    assert not see(tmp_path, "2027-03-28T01:00", saturday).open


def test_one_open_window_of_several_is_enough_and_the_nearest_comes_next(tmp_path: Path) -> None:
    windows = (read(days=["sat"]), read(days=["thu"], at="12:00", tz="America/Los_Angeles"))

    seen = see(tmp_path, "2026-11-26T19:59", *windows)

    assert (seen.open, seen.next) == (False, "2026-11-26T12:00-08:00")
    assert see(tmp_path, "2026-11-26T20:00", *windows).open


@pytest.mark.parametrize(
    ("moment", "state", "words"),
    [
        ("1970-01-01T01:30", 0, "before this robot's own files"),
        ("2024-11-26T01:30", 0, "before this robot's own files"),
        ("2026-11-26T01:30", 5, "nothing keeps it right"),
        ("2026-11-26T01:30", -1, "cannot be seen"),
    ],
)
def test_a_clock_that_cannot_be_believed_keeps_every_window_closed(
    tmp_path: Path, moment: str, state: int, words: str
) -> None:
    seen = see(tmp_path, moment, state=state)

    assert not seen.open and seen.next is None and "its clock" in str(seen.reason) and words in str(seen.reason)


def test_a_clock_behind_the_robots_settings_keeps_windows_closed(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.etc.mkdir()
    layout.agent_toml.touch()
    written = datetime(2026, 11, 26, 1, 40, tzinfo=timezone.utc).timestamp()
    os.utime(layout.agent_toml, (written, written))

    assert "before this robot's own files" in str(see(tmp_path, "2026-11-26T01:30").reason)
    assert see(tmp_path, "2026-11-26T01:45").open


@pytest.mark.parametrize("tz", ["Mars/Olympus", "/etc/passwd", "../UTC", "", "Europe"])
def test_an_unknown_zone_is_closed_with_the_reason_and_not_an_agent_that_does_not_start(
    tmp_path: Path, tz: str
) -> None:
    seen = see(tmp_path, "2026-11-26T01:30", read(tz=tz))

    assert not seen.open and f"tz {tz!r}: no time zone of this robot" in str(seen.reason)


def test_without_zone_data_only_utc_is_known(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from model_registry.core.documents import Reader; from stack.agent.settings.windows import Window\n"
        "keys = {'days': ['mon'], 'at': '02:00', 'for': '1h'}\n"
        "print(Window.read(Reader({**keys, 'tz': 'UTC'}, 'w')).zone())\n"
        "Window.read(Reader({**keys, 'tz': 'Europe/Berlin'}, 'w')).zone()\n"
    )
    argv = [sys.executable, "-S", "-c", program, str(TOP)]

    done = subprocess.run(argv, env={"PYTHONTZPATH": ""}, capture_output=True, text=True, timeout=60)

    assert done.stdout == "UTC\n"
    assert "has no time zone data; install the package tzdata" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"days": ["monday"]}, "windows[0].days[0]: expected a day"),
        ({"days": []}, "windows[0].days: expected at least one day"),
        ({"at": "2:00"}, "windows[0].at: expected a time"),
        ({"at": "24:00"}, "windows[0].at: expected a time"),
        ({"for": "25h"}, "windows[0].for: expected hours or minutes"),
        ({"for": "3"}, "windows[0].for: expected hours or minutes"),
        ({"zone": "UTC"}, "windows[0]: unknown key 'zone'"),
    ],
)
def test_what_is_not_a_window_is_refused_with_its_key(change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        read(**change)

    assert words in str(error.value)


def test_days_may_go_over_the_weekend() -> None:
    assert read(days=["sat-mon", "wed"]).days == {5, 6, 0, 2}
