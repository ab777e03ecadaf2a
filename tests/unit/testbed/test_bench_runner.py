"""`make bench` names what it cannot run, and its lines have the shape that is promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.harness import Noise, report

REPOSITORY = Path(__file__).parents[3]


def test_an_unknown_bench_is_a_usage_error_that_lists_the_known_ones() -> None:
    argv = [sys.executable, "-m", "tests.bench", "nope"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "no bench named nope; there are: " in done.stderr and " cutover, " in done.stderr


@pytest.mark.parametrize(
    ("late_ms", "verdict"), [([0.1] * 100, "conclusive"), ([0.1] * 90 + [9.0] * 10, "inconclusive")]
)
def test_a_bench_ends_with_one_json_line(
    capsys: pytest.CaptureFixture[str], late_ms: list[float], verdict: str
) -> None:
    report("example", {"gap_ms": 1.5}, {"restart_gap_ms": 9.0}, Noise(late_ms))

    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["bench"] == "example"
    assert line["figures"] == {"gap_ms": 1.5}
    assert line["baselines"] == {"restart_gap_ms": 9.0}
    assert line["commit"]
    assert line["verdict"] == verdict
