"""Every requirement, invariant of a message, row and defect of the seed, and lesson names tests, and they exist.

They are the lists between marks of docs/safety.md, docs/interfaces.md, docs/seed.md and docs/lessons.md.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from stack.supervisor.state import Reason
from stack.supervisor.thresholds import NAMES

ROOT = Path(__file__).parents[2]
SAFETY, SEED, LEARNED, INTERFACES = (
    (ROOT / "docs" / name).read_text() for name in ("safety.md", "seed.md", "lessons.md", "interfaces.md")
)
SOURCES = {path: path.read_text() for path in ROOT.glob("tests/**/test_*.py")}


class Row(NamedTuple):
    """An entry of a list, what it says, and its tests as (file, name)."""

    name: str
    text: str
    tests: tuple[tuple[str, str], ...]


ENTRY = re.compile(r"^- \*\*([A-Z]\d+)\*\* ((?:.|\n  (?!- ))+)((?:\n  - `test_\w+\.py::test_\w+`)*)", re.MULTILINE)


def entries(text: str, mark: str) -> list[Row]:
    """Every entry between two marks. Raises AssertionError when one names no test, or is not read whole."""
    part = text.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0].strip()
    found = list(ENTRY.finditer(part))
    assert found and "\n".join(entry[0] for entry in found) == part, mark
    rows = [
        Row(name, body, tuple(re.findall(r"(test_\w+\.py)::(test_\w+)", tests)))
        for name, body, tests in (entry.groups() for entry in found)
    ]
    assert [row.name for row in rows if not row.tests] == [], mark
    return rows


def numbers(letter: str, first: int, last: int) -> list[str]:
    return [f"{letter}{number}" for number in range(first, last + 1)]


def named(test: str) -> set[str]:
    """The rows in a test's name: `test_t07_to_t11_and_d03_…` is T7 to T11 and D3."""
    single = {f"{letter.upper()}{int(number)}" for letter, number in re.findall(r"_([trd])(\d\d)(?=_)", test)}
    ranges = re.findall(r"_([trd])(\d\d)_to_[trd](\d\d)(?=_)", test)
    return single.union(*(numbers(letter.upper(), int(first), int(last)) for letter, first, last in ranges))


REQUIREMENTS, GUARDED = entries(SAFETY, "trace"), entries(SAFETY, "seed")
KEPT, MENDED = entries(SEED, "rows"), entries(SEED, "defects")
LESSONS = entries(LEARNED, "lessons")
MESSAGES = entries(INTERFACES, "messages")


def test_the_tables_have_every_number_once() -> None:
    assert [row.name for row in REQUIREMENTS] == numbers("S", 1, len(REQUIREMENTS))
    assert [row.name for row in GUARDED] == numbers("D", 33, 49)
    assert [row.name for row in MESSAGES] == numbers("M", 1, len(MESSAGES))
    assert [row.name for row in LESSONS] == numbers("L", 1, len(LESSONS))
    assert [row.name for row in KEPT] == [*numbers("T", 1, 13), *numbers("R", 1, 18)]
    mended = [row.name for row in MENDED]
    assert mended[:32] == numbers("D", 1, 32) and len(set(mended)) == len(mended)


def test_the_tests_of_every_row_exist_once() -> None:
    there = Counter(
        (path.name, name) for path, text in SOURCES.items() for name in set(re.findall(r"def (test_\w+)\(", text))
    )
    rows = [*REQUIREMENTS, *GUARDED, *KEPT, *MENDED, *LESSONS, *MESSAGES]

    assert [f"{row.name}: {file}::{name}" for row in rows for file, name in row.tests if there[file, name] != 1] == []


def test_every_test_of_a_row_of_the_seed_carries_it_in_its_name() -> None:
    rows = [*KEPT, *MENDED]

    assert [f"{row.name}: {name}" for row in rows for _, name in row.tests if row.name not in named(name)] == []


def test_no_test_carries_a_row_that_the_seed_does_not_have() -> None:
    known = {*numbers("T", 1, 13), *numbers("R", 1, 18), *numbers("D", 1, 49)}
    tests = {name for text in SOURCES.values() for name in re.findall(r"def (test_\w+)\(", text)}
    assert not set().union(*map(named, tests)) - known


def test_every_reason_and_every_threshold_is_explained() -> None:
    for reason in Reason:
        assert f"`{reason.name.lower()}`" in SAFETY, reason
    for name in NAMES:
        assert f"`{name}`" in SAFETY, name


def test_every_message_that_moves_or_stops_something_has_an_invariant() -> None:
    messages = {row.text.partition(")")[0].lstrip("(") for row in MESSAGES}
    words = {word.strip() for message in messages for word in re.split(r"[,(]", message)}
    assert {"scan", "odometry", "battery", "command", "robot.toml"} <= words
