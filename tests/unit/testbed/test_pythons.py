"""Which tests run on every Python, and which interpreter is one."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.pythons import ROBOT_ONLY, ROBOT_UNITS, UNITS, runs, units

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_an_interpreter_is_what_it_says_of_itself(tmp_path: Path) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'no such version is chosen' >&2\nexit 127\n")
    shim.chmod(0o755)

    assert runs(Path(sys.executable), HERE) and not runs(Path(sys.executable), "3.9")
    assert not runs(shim, "3.12") and not runs(tmp_path / "missing", "3.12")


def test_what_needs_no_rig_is_most_of_the_units_and_on_robots_their_own_code_alone() -> None:
    files, robot = units(HERE), units(ROBOT_ONLY)

    assert len(files) > len(list(UNITS.rglob("test_*.py"))) / 2 and set(robot) < set(files)
    assert {Path(path).parts[2] for path in robot} == set(ROBOT_UNITS)
    assert "tests/unit/supervisor/test_obstacles.py" in robot and "tests/unit/agent/test_switch.py" not in files
