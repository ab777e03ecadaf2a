"""`make demo` as a user runs it: the whole story, its report, robots that go on with KEEP=1, and nothing left behind in
the end.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
