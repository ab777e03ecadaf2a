"""What the demo's page and its last lines say of a machine that was late."""

from __future__ import annotations

import pytest

from tests.testbed import report


@pytest.mark.parametrize(
    ("missed", "begins"),
    [(0, ""), (1, "1 tick was missed: this machine"), (120, "120 ticks were missed: this machine")],
)
def test_missed_ticks_are_laid_to_the_machine_and_none_to_nobody(missed: int, begins: str) -> None:
    said = report.late(missed)
    assert said.startswith(begins) and bool(said) == bool(missed)
