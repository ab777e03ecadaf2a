"""Every bench can be started: what it imports is there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHES = sorted(path.stem for path in (Path(__file__).parents[2] / "bench").glob("*.py") if path.stem != "__main__")


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_imports_what_there_is(name: str) -> None:
    assert importlib.import_module(f"tests.bench.{name}").__doc__
