"""The rules of CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("model_registry", "stack", "ansible/plugins", "images")
SHIPPED = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))
TESTS = sorted(ROOT.glob("tests/**/*.py"))
MODULE_MAX, FUNCTION_MAX = 300, 40
# Thread roots and process roots where one broad except trips or reports (rule 5), and the CLIs that print.
BROAD_EXCEPT = {
    "stack/policy/node.py",
    "stack/supervisor/node.py",
    "stack/supervisor/guarded.py",
    "stack/sim/node.py",
    "stack/agent/api/server.py",
    "stack/agent/change/probation.py",
    "stack/agent/upkeep/archivist.py",
}
PRINTS = re.compile(r"(^|/)(cli|cli/.*|__main__|build)\.py$|/cli/")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def below(path: Path, folder: str) -> bool:
    return name(path).startswith(folder + "/")


def ours(module: str) -> bool:
    return module.split(".")[0] in ("model_registry", "stack", "tests")


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_imports_point_down_only(path: Path) -> None:
    for module in imports(path):
        core = module == "model_registry.core" or module.startswith("model_registry.core.")
        if below(path, "model_registry"):
            assert not module.startswith("stack"), f"model_registry never imports stack, and here is {module}"
        if below(path, "stack/supervisor") and ours(module):
            assert core or module.startswith("stack.supervisor"), module
        if below(path, "stack/monitor") and ours(module):
            assert core or module.startswith("stack.monitor"), module
        if below(path, "images") and ours(module):
            assert module.startswith("model_registry"), module
        if below(path, "stack/agent") and ours(module):
            assert core or module.startswith("stack.agent"), module
        if below(path, "stack/engine") and ours(module):
            assert core or module.startswith("stack.engine"), module
        if below(path, "stack/policy") and ours(module):
            assert core or module.startswith(("stack.policy", "stack.engine", "stack.monitor.resources")), module
        assert not module.startswith("tests"), "shipped code never imports tests"


@pytest.mark.parametrize(
    "path", [p for p in SHIPPED if below(p, "stack/agent") or below(p, "model_registry/core")], ids=name
)
def test_the_agent_and_its_core_need_the_standard_library_only(path: Path) -> None:
    foreign = (
        {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names) - {"model_registry", "stack"}
    )
    assert foreign <= {"tomli"}  # the standard library's tomllib, for Python 3.10


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_ros_is_imported_in_node_modules_only(path: Path) -> None:
    ros = {
        "rclpy",
        "diagnostic_msgs",
        "geometry_msgs",
        "nav_msgs",
        "sensor_msgs",
        "std_msgs",
        "trajectory_msgs",
        "rosgraph_msgs",
    }
    found = {module.split(".")[0] for module in imports(path)} & ros
    assert not found or path.name == "node.py" or name(path) == "stack/supervisor/topics.py", found


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_every_module_says_why_it_exists(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "a module starts with a docstring"


def handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            yield node


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_broad_excepts_stand_at_thread_roots_only(path: Path) -> None:
    broad = [h for h in handlers(path) if h.type is None or (isinstance(h.type, ast.Name) and h.type.id == "Exception")]
    assert not broad or name(path) in BROAD_EXCEPT


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_only_command_lines_print(path: Path) -> None:
    calls = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    ]
    assert PRINTS.search(name(path)) or not [call for call in calls if getattr(call.func, "id", "") == "print"]


BANS = {
    "a shell string": re.compile(r"shell=True|os\.system\("),
    "a pickle": re.compile(r"\bpickle\b"),
    "a patched object": re.compile(r"mock\.patch|monkeypatch\.setattr"),
    "a moving tag": re.compile(r":latest\b"),
    "an open end": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
}


@pytest.mark.parametrize("path", [p for p in [*SHIPPED, *TESTS] if p != Path(__file__)], ids=name)
@pytest.mark.parametrize("ban", BANS, ids=str)
def test_banned_constructs_are_absent(path: Path, ban: str) -> None:
    assert not BANS[ban].search(path.read_text())


@pytest.mark.parametrize("path", [p for p in TESTS if p != Path(__file__)], ids=name)
def test_tests_poll_with_deadlines_and_never_just_sleep(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")):
        sleeps = [n for n in ast.walk(function) if isinstance(n, ast.Attribute) and n.attr == "sleep"]
        assert not sleeps, f"{function.name} sleeps"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file() and not (ROOT / line).is_symlink()]


def test_no_file_names_a_machine_or_a_package_registry_host() -> None:
    hosts = [
        "py" + "pi.org",
        "python" + "hosted",
        "deb." + "debian",
        "npm" + "js",
        "/wo" + "rk/",
        "/ro" + "ot/",
        "/fa" + "rm/",
    ]
    for path in tracked():
        if path.suffix in (".onnx", ".npz"):
            continue
        text = path.read_text(errors="replace")
        assert not [word for word in hosts if word in text], path


def test_version_has_one_source() -> None:
    from model_registry.core.version import version

    assert version() == (ROOT / "VERSION").read_text().strip()
    assert f"version: {version()}" in (ROOT / "ansible/galaxy.yml").read_text()


def test_exit_codes_are_those_of_the_documentation() -> None:
    from model_registry.core import errors

    wanted = {
        "HomeportError": 1, "NotFoundError": 1, "UsageError": 2, "DriftError": 3, "PartialFleetError": 4,
        "RefusedError": 5, "IncompatibleError": 5, "UntrustedError": 5, "IntegrityError": 5, "LockedError": 6,
    }  # fmt: skip
    found = {k: v.exit_code for k, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert found == wanted
    line = (
        "0 ok · 1 failed · 2 usage · 3 drift or not healthy · 4 part of the fleet · "
        "5 refused, incompatible or untrusted · 6 locked"
    )
    assert line in (ROOT / "docs/interfaces.md").read_text()
    for code in {code for code in wanted.values() if code > 1}:
        assert errors.from_exit_code(code, "x").exit_code == code


# Every schema, and the tests of the side that writes such documents and of the side that reads them.
SIDES = {
    "release": ("tests/unit/model_registry", "tests/unit/agent"),
    "channel": ("tests/unit/model_registry", "tests/unit/agent"),
    "vla": ("tests/unit/models", "tests/unit/model_registry"),
    "slot-status": ("tests/unit/policy", "tests/unit/agent"),
    "supervisor-state": ("tests/unit/supervisor", "tests/unit/policy"),
    "control": ("tests/unit/supervisor", "tests/unit/agent"),
    "operator": ("tests/unit/supervisor", "tests/unit/agent"),
    "agent": ("tests/unit/agent", "tests/unit/ansible"),
    "journal": ("tests/unit/agent", "tests/testbed"),
    "gate": ("tests/unit/engine", "tests/unit/agent"),
    "rollout": ("tests/unit/ansible", "tests/unit/cli"),
    "archive": ("tests/unit/agent", "tests/unit/agent"),  # the agent, and homeport-rescue
}


def test_every_schema_has_two_sides() -> None:
    assert {path.name.removesuffix(".schema.json") for path in (ROOT / "docs/schemas").glob("*.json")} == set(SIDES)


@pytest.mark.parametrize("schema", SIDES, ids=str)
@pytest.mark.parametrize("side", [0, 1], ids=["writer", "reader"])
def test_each_schema_is_used_by_the_tests_of_both_sides(schema: str, side: int) -> None:
    folder = ROOT / SIDES[schema][side]
    assert any(re.search(rf'"{schema}[".#]', path.read_text()) for path in folder.rglob("*.py")), folder


def test_only_the_supervisor_writes_the_command() -> None:
    writers = {
        name(path) for path in SHIPPED if re.search(r"create_(lifecycle_)?publisher\(\s*Twist\b", path.read_text())
    }

    assert writers == {"stack/supervisor/topics.py"}
