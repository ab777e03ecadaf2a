"""`make demo` as a user runs it: the whole story, its report, robots that go on with KEEP=1, and nothing left behind
however it ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.ros import wait_until
from tests.testbed.leftovers import started_in

REPOSITORY = Path(__file__).parents[2]


def argv(out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "tests.testbed.hosting", "--out", str(out), *options]


def run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv(out, *options), cwd=REPOSITORY, capture_output=True, text=True, timeout=580)


@contextmanager
def ended(out: Path) -> Iterator[None]:
    """Whatever fails in the block, no robot of `out` is left running."""
    try:
        yield
    finally:
        run(out, "--down")


@pytest.mark.timeout(640)
def test_the_demo_tells_its_whole_story_and_its_robots_go_on_until_they_are_ended(tmp_path: Path) -> None:
    with ended(tmp_path):
        done = run(tmp_path, "--keep")

        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith("This machine: ")
        report = json.loads((tmp_path / "report.json").read_text())
        assert [robot["name"] for robot in report["robots"]] == ["alder", "birch", "cedar"]
        assert all(robot["release"] == "1.0.0" and robot["healthy"] is True for robot in report["robots"])
        assert report["cutover"]["missed_ticks"] == 0
        assert report["bad_release"]["hosts_touched"] == 1
        assert "gate: " in report["bad_release"]["caught_by"]
        assert report["rollback"]["bytes_fetched"] == 0
        page = (tmp_path / "report.html").read_text()
        assert page.count("<svg") == 6
        scratch = Path(json.loads((tmp_path / "running.json").read_text())["folder"])
        tried = re.search(r"^  (\S.* status)$", done.stdout, re.MULTILINE)
        assert tried, done.stdout
        status = subprocess.run(tried[1].split(), capture_output=True, text=True, timeout=30)
        assert status.returncode == 0, status.stdout + status.stderr
        again = run(tmp_path)
        assert (again.returncode, again.stdout) == (5, "") and "make demo-down" in again.stderr

        assert run(tmp_path, "--down").returncode == 0
        assert started_in(scratch) == [] and not scratch.exists()
        assert run(tmp_path, "--down").stdout == "No robots of a demo run here.\n"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_interrupted_leaves_nothing_running(number: signal.Signals, tmp_path: Path) -> None:
    with ended(tmp_path):
        lines: list[str] = []
        with subprocess.Popen(
            argv(tmp_path), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as program:
            assert program.stdout is not None
            reader = threading.Thread(target=lambda: lines.extend(program.stdout or ()), daemon=True)
            reader.start()
            wait_until(lambda: any("Deploying 1.0.0" in line for line in lines), 120.0, "the first deploy")
            scratch = Path(json.loads((tmp_path / "running.json").read_text())["folder"])
            assert len(started_in(scratch)) >= 12, "three robots run"
            os.kill(program.pid, number)
            code = program.wait(60.0)
        reader.join(10.0)

        if number == signal.SIGTERM:
            assert code == 1 and lines[-1] == "stopped; everything that was started was ended\n", lines
        else:
            assert started_in(scratch) != [], "nobody could end them"
            assert run(tmp_path, "--down").returncode == 0
        assert started_in(scratch) == [] and not scratch.exists() and not (tmp_path / "running.json").exists()
