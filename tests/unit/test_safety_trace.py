"""Every requirement of docs/safety.md, and every defect of the seed that it lists, names a test, and the test exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.supervisor.state import Reason
from stack.supervisor.thresholds import NAMES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "safety.md").read_text()


def table(mark: str, letter: str) -> list[tuple[str, str, str, str]]:
    """Name, text, file and test of every row between two marks. Raises AssertionError when a row is not like that."""
    text = TEXT.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]
    rows = re.findall(rf"^\| ({letter}\d+) \| (.+?) \| `(test_\w+\.py)::(test_\w+)` \|$", text, re.MULTILINE)
    assert len(rows) == len([line for line in text.splitlines() if line.startswith(f"| {letter}")]), mark
    return rows


REQUIREMENTS, DEFECTS = table("trace", "S"), table("seed", "D")
ROWS = [*REQUIREMENTS, *DEFECTS]


def test_the_tables_have_every_number_once() -> None:
    assert [name for name, *_ in REQUIREMENTS] == [f"S{number}" for number in range(1, len(REQUIREMENTS) + 1)]
    assert [name for name, *_ in DEFECTS] == [f"D{number}" for number in range(33, 50)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_test_of_a_requirement_exists(row: tuple[str, str, str, str]) -> None:
    _, _, file, name = row
    found = [path for path in ROOT.glob(f"tests/**/{file}") if f"def {name}(" in path.read_text()]

    assert len(found) == 1, f"{file}::{name}"


def test_every_reason_and_every_threshold_is_explained() -> None:
    for reason in Reason:
        assert f"`{reason.name.lower()}`" in TEXT, reason
    for name in NAMES:
        assert f"`{name}`" in TEXT, name
