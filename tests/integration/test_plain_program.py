"""The proof that a robot needs nothing of ours: a plain ROS 2 program sends camera, scan and command, and is driven."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from model_registry.core import lines
from model_registry.core.errors import HomeportError
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from tests.fakes.robot import make_release, remove_run_folder
from tests.fakes.ros import Process, allocate_domain_id, ros_env, wait_until
from tests.fakes.settings import ABSENT, robot_toml

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests/testbed/plain_program.py"
ROBOT = robot_toml(name="plain", sources={"odom": ABSENT, "battery": ABSENT})


def test_the_program_imports_nothing_of_ours() -> None:
    tree = ast.parse(PROGRAM.read_text())
    modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}

    assert not [m for m in modules if m.split(".")[0] in ("stack", "model_registry", "tests")]


def test_a_plain_program_is_driven_to_the_pillar_it_shows(tmp_path: Path) -> None:
    root = tmp_path / "robot"
    layout = Layout.at(root)
    layout.etc.mkdir(parents=True)
    layout.robot_toml.write_text(ROBOT)
    make_release(root, REPOSITORY / "stack/models/reference/pilot-1.0.0", slot="a")
    Files().link(layout.current, "slots/a")
    environment = ros_env(tmp_path, allocate_domain_id())

    def armed() -> bool:
        try:
            return bool(lines.call(layout.operator_socket, lines.request("arm"), 2.0)["armed"])
        except HomeportError:
            return False

    try:
        with (
            Process(["stack.supervisor", "--root", str(root)], environment, tmp_path / "supervisor.log"),
            Process(["stack.policy", "--slot", "a", "--root", str(root)], environment, tmp_path / "slot.log"),
        ):
            argv = [sys.executable, str(PROGRAM), "go to the red pillar", "40"]
            with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as program:
                wait_until(armed, 30.0, "the supervisor to be armed")
                heard = json.loads(program.communicate(timeout=60)[0])
    finally:
        remove_run_folder(root)

    assert heard["commands"] > 10
    assert 0.2 < heard["fastest_mps"] <= 0.5
    assert heard["turning_radps"] <= 1.0
