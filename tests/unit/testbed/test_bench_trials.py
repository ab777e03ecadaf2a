"""A bench that was interrupted goes on after its last trial, and says so; its closing line is over all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.harness import Trials
from tests.fakes.ros import REPOSITORY, wait_until


class Power:
    """Trials that end with the power after so many."""

    def __init__(self, trials: int) -> None:
        self.left, self.numbers = trials, list[int]()

    def trial(self, number: int) -> tuple[int, str]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.numbers.append(number)
        return number * 10, "ms"


def start(folder: Path, power: Power, fresh: bool = False) -> None:
    """One start of a bench of five trials."""
    trials = Trials("example", fresh, folder)
    with trials.noise():
        outcomes = trials.run("ticks", 5, power.trial)
    trials.report({"sum_ms": sum(value for value, _ in outcomes)}, {"seed_ms": 9})


def interrupted(folder: Path, trials: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(folder, Power(trials))


def test_a_start_after_an_interruption_goes_on_after_the_last_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(tmp_path, 3)
    second = Power(9)

    start(tmp_path, second)

    printed = capsys.readouterr()
    assert second.numbers == [3, 4]
    assert "example: goes on behind 3 of ticks; FRESH=1 starts anew" in printed.err
    line = json.loads(printed.out)
    assert line["bench"] == "example"
    assert line["figures"] == {"sum_ms": 100}
    assert line["baselines"] == {"seed_ms": 9}


def test_fresh_starts_anew(tmp_path: Path) -> None:
    interrupted(tmp_path, 3)
    second = Power(9)

    start(tmp_path, second, fresh=True)

    assert second.numbers == [0, 1, 2, 3, 4]


def test_a_run_that_ended_is_not_run_on_but_told_beside_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(tmp_path, Power(9))
    second = Power(9)

    start(tmp_path, second)

    assert second.numbers == [0, 1, 2, 3, 4]
    assert 'run 1 of this code: {"noise_p99_ms": ' in capsys.readouterr().err


def test_a_torn_line_costs_one_trial_and_no_other(tmp_path: Path) -> None:
    interrupted(tmp_path, 3)
    (kept,) = tmp_path.glob("example.*.jsonl")
    text = kept.read_text()
    kept.write_text(text[: text.index('"noise"')])
    trials = Trials("example", False, tmp_path)

    assert trials.run("ticks", 4, Power(1).trial) == [[0, "ms"], [10, "ms"], [20, "ms"], [30, "ms"]]
    assert Trials("example", False, tmp_path).done("ticks") == 4


def test_sigterm_leaves_what_was_measured_and_the_noise_beside_it(tmp_path: Path) -> None:
    program = f"""
import pathlib, threading
from tests.bench.harness import Trials
trials = Trials("example", False, pathlib.Path({str(tmp_path)!r}))
with trials.noise():
    trials.run("ticks", 2, lambda number: 1 - number or threading.Event().wait(60.0))
"""
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, cwd=REPOSITORY, env={**os.environ, "FULL": ""}, stdin=subprocess.DEVNULL) as child:
        wait_until(lambda: any('"ticks"' in path.read_text() for path in tmp_path.iterdir()), 30.0, "the first trial")
        child.send_signal(signal.SIGTERM)
        code = child.wait(30.0)

    assert code == 128 + signal.SIGTERM
    (kept,) = tmp_path.glob("example.*.quick.jsonl")
    parts = [json.loads(line)["part"] for line in kept.read_text().splitlines() if line]
    assert parts == ["ticks", "noise"]
