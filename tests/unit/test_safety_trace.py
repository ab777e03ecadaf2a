"""Every requirement of docs/safety.md names a test, and the test exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.supervisor.state import Reason
from stack.supervisor.thresholds import NAMES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "safety.md").read_text()
TRACE = TEXT.partition("<!-- trace -->")[2].partition("<!-- /trace -->")[0]
ROWS = re.findall(r"^\| (S\d+) \| (.+?) \| `(test_\w+\.py)::(test_\w+)` \|$", TRACE, re.MULTILINE)


def test_every_row_of_the_table_is_a_requirement_with_one_test() -> None:
    lines = [line for line in TRACE.strip().splitlines() if line.startswith("| S")]

    assert len(ROWS) == len(lines) >= 20
    assert [name for name, *_ in ROWS] == [f"S{number}" for number in range(1, len(ROWS) + 1)]


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
