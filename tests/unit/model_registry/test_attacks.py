"""What a source may answer, and what may lie where it reads, by name: refused in one line, and nothing is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testbed.attacks_source import ATTACKS, refused


@pytest.mark.parametrize("name", ATTACKS)
def test_is_refused(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, ATTACKS[name]) is None
