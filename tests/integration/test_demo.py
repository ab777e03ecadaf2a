"""`make demo`, as a user runs it: the whole story, its report, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def left_running(word: str) -> list[str]:
    """Command lines of live processes that name `word`."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if word in line:
            lines.append(line)
    return lines


@pytest.mark.timeout(600)
def test_the_demo_tells_its_whole_story_and_leaves_nothing_running(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.testbed.demo", "--out", str(tmp_path), "--keep"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=580)

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert [robot["name"] for robot in report["robots"]] == ["alder", "birch", "cedar"]
    assert all(robot["release"] == "1.0.0" and robot["healthy"] is True for robot in report["robots"])
    assert report["cutover"]["missed_ticks"] == 0
    assert report["bad_release"]["hosts_touched"] == 1
    assert "gate: " in report["bad_release"]["caught_by"]
    assert report["rollback"]["bytes_fetched"] == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 6
    scratch = next(line.rsplit(" ", 1)[1] for line in done.stdout.splitlines() if "folders and logs are in" in line)
    assert left_running(scratch) == []
