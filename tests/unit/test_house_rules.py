"""The rules of CONTRIBUTING.md that a program can check: one test a rule, which names every place that breaks it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("model_registry", "stack", "ansible/plugins", "images")
SHIPPED = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))
TESTS = sorted(ROOT.glob("tests/**/*.py"))
MODULE_MAX, FUNCTION_MAX = 300, 40
PAIRS_PER_1000 = 2.0
GIVEN_BY_OTHERS = {"FilterModule"}  # Ansible looks for a class of this name in every file of filters
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
# What a part may import of what is ours.
FLOOR = "model_registry.core"
MAY_IMPORT = {
    "stack/supervisor": (FLOOR, "stack.supervisor"),
    "stack/monitor": (FLOOR, "stack.monitor"),
    "stack/agent": (FLOOR, "stack.agent"),
    "stack/engine": (FLOOR, "stack.engine"),
    "stack/policy": (FLOOR, "stack.policy", "stack.engine", "stack.monitor.resources"),
    "stack/importers": ("model_registry", "stack.importers", "stack.engine"),
    "images": ("model_registry",),
    "model_registry": ("model_registry",),
}
ROS = {
    "rclpy",
    "diagnostic_msgs",
    "geometry_msgs",
    "nav_msgs",
    "sensor_msgs",
    "std_msgs",
    "trajectory_msgs",
    "rosgraph_msgs",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def source(path: Path) -> str:
    return path.read_text()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """The module and all that is in it."""
    return tuple(ast.walk(ast.parse(source(path))))


def imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def below(path: Path, folder: str) -> bool:
    return name(path).startswith(folder + "/")


def ours(module: str) -> bool:
    return module.split(".")[0] in ("model_registry", "stack", "tests")


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def offenders(paths: list[Path], breaks: Callable[[Path], Iterator[str]]) -> list[str]:
    """Every place that breaks a rule, as `file: how`."""
    return [f"{name(path)}: {how}" for path in paths for how in breaks(path)]


def test_imports_point_down_only() -> None:
    def upward(path: Path) -> Iterator[str]:
        for module in filter(ours, imports(path)):
            if inside(module, "tests"):
                yield f"imports {module}, and shipped code never imports tests"
            for folder, allowed in MAY_IMPORT.items():
                if below(path, folder) and not any(inside(module, each) for each in allowed):
                    yield f"imports {module}"

    assert offenders(SHIPPED, upward) == []


def test_the_agent_and_its_core_need_the_standard_library_only() -> None:
    known = {*sys.stdlib_module_names, "model_registry", "stack", "tomli"}  # tomli is tomllib for Python 3.10
    part = [path for path in SHIPPED if below(path, "stack/agent") or below(path, "model_registry/core")]

    def foreign(path: Path) -> Iterator[str]:
        yield from (f"imports {module}" for module in imports(path) if module.split(".")[0] not in known)

    assert len(part) > 30
    assert offenders(part, foreign) == []


def test_ros_is_imported_in_node_modules_only() -> None:
    beside = {"stack/supervisor/topics.py", "stack/policy/ears.py"}
    others = [path for path in SHIPPED if path.name != "node.py" and name(path) not in beside]

    def ros(path: Path) -> Iterator[str]:
        yield from (f"imports {module}" for module in imports(path) if module.split(".")[0] in ROS)

    assert offenders(others, ros) == []


def test_modules_and_functions_stay_small() -> None:
    def large(path: Path) -> Iterator[str]:
        length = len(source(path).splitlines())
        if length > MODULE_MAX:
            yield f"{length} lines, and a module has at most {MODULE_MAX}"
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_MAX:
                    yield f"{node.name} has {length} lines, and a function has at most {FUNCTION_MAX}"

    assert offenders(SHIPPED, large) == []


def test_every_module_says_why_it_exists() -> None:
    def silent(path: Path) -> Iterator[str]:
        if not ast.get_docstring(ast.parse(source(path))):
            yield "a module starts with a docstring"

    assert offenders(SHIPPED, silent) == []


def test_broad_excepts_stand_at_thread_roots_only() -> None:
    def broad(path: Path) -> Iterator[str]:
        for node in nodes(path):
            if not isinstance(node, ast.ExceptHandler):
                continue
            if node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"):
                yield f"a broad except in line {node.lineno}"

    assert offenders([path for path in SHIPPED if name(path) not in BROAD_EXCEPT], broad) == []


def test_only_command_lines_print() -> None:
    def prints(path: Path) -> Iterator[str]:
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"prints in line {node.lineno}"

    assert offenders([path for path in SHIPPED if not PRINTS.search(name(path))], prints) == []


BANS = {
    "a shell string": re.compile(r"shell=True|os\.system\("),
    "a pickle": re.compile(r"\bpickle\b"),
    "a patched object": re.compile(r"mock\.patch|monkeypatch\.setattr"),
    "a moving tag": re.compile(r":latest\b"),
    "an open end": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
}


def test_banned_constructs_are_absent() -> None:
    def banned(path: Path) -> Iterator[str]:
        yield from (ban for ban, pattern in BANS.items() if pattern.search(source(path)))

    assert offenders([path for path in [*SHIPPED, *TESTS] if path != Path(__file__)], banned) == []


def test_tests_poll_with_deadlines_and_never_just_sleep() -> None:
    def sleepers(path: Path) -> Iterator[str]:
        for function in nodes(path):
            if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
                continue
            if any(isinstance(node, ast.Attribute) and node.attr == "sleep" for node in ast.walk(function)):
                yield f"{function.name} sleeps"

    assert offenders([path for path in TESTS if path != Path(__file__)], sleepers) == []


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

    def named(path: Path) -> Iterator[str]:
        text = path.read_text(errors="replace")
        yield from (word for word in hosts if word in text)

    assert offenders([path for path in tracked() if path.suffix not in (".onnx", ".npz")], named) == []


def test_version_has_one_source() -> None:
    from model_registry.core.version import version

    assert version() == (ROOT / "VERSION").read_text().strip()
    assert f"version: {version()}" in (ROOT / "ansible/galaxy.yml").read_text()


def test_exit_codes_are_those_of_the_documentation() -> None:
    from model_registry.core import errors

    wanted = {
        "HomeportError": 1, "NotFoundError": 1, "UsageError": 2, "DriftError": 3, "PartialFleetError": 4,
        "RefusedError": 5, "IncompatibleError": 5, "UntrustedError": 5, "IntegrityError": 5, "LockedError": 6,
        "LinkError": 7,
    }  # fmt: skip
    found = {k: v.exit_code for k, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert found == wanted
    line = (
        "0 ok · 1 failed · 2 usage · 3 drift or not healthy · 4 part of the fleet · "
        "5 refused, incompatible or untrusted · 6 locked · 7 link lost"
    )
    assert line in (ROOT / "docs/interfaces.md").read_text()
    for code in {code for code in wanted.values() if code > 1}:
        assert errors.from_exit_code(code, "x").exit_code == code


# Every schema, and the tests of the side that writes such documents and of the side that reads them.
SIDES = {
    "release": ("tests/unit/model_registry", "tests/unit/agent"),
    "channel": ("tests/unit/model_registry", "tests/unit/agent"),
    "trust": ("tests/unit/model_registry", "tests/unit/agent"),
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


def test_each_schema_is_used_by_the_tests_of_both_sides() -> None:
    def uses(folder: str, schema: str) -> bool:
        return any(re.search(rf'"{schema}[".#]', source(path)) for path in TESTS if below(path, folder))

    unused = [f"{schema}: {folder}" for schema, sides in SIDES.items() for folder in sides if not uses(folder, schema)]

    assert unused == []


def test_only_the_supervisor_writes_the_command() -> None:
    writers = {
        name(path) for path in SHIPPED if re.search(r"create_(lifecycle_)?publisher\(\s*Twist\b", path.read_text())
    }

    assert writers == {"stack/supervisor/topics.py"}


def test_no_two_classes_share_a_name() -> None:
    """A search leads to the one that is meant."""
    where: dict[str, list[str]] = defaultdict(list)
    for path in SHIPPED:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef) and node.name not in GIVEN_BY_OTHERS:
                where[node.name].append(f"{name(path)}:{node.lineno}")
    assert {shared: places for shared, places in where.items() if len(places) > 1} == {}


def test_no_ternary_stands_inside_a_ternary() -> None:
    def nested(path: Path) -> Iterator[str]:
        for node in nodes(path):
            if isinstance(node, ast.IfExp):
                inner = [each for each in ast.walk(node) if isinstance(each, ast.IfExp) and each is not node]
                yield from [f"line {node.lineno}: write an if"] if inner else []

    assert offenders(SHIPPED, nested) == []


def test_tuples_assign_only_what_belongs_together_as_a_pair() -> None:
    def pairs(path: Path) -> Iterator[str]:
        for node in nodes(path):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                yield from [f"line {node.lineno}"] if isinstance(node.value, ast.Tuple) else []

    found = offenders(SHIPPED, pairs)
    lines = sum(len(source(path).splitlines()) for path in SHIPPED)
    assert len(found) <= PAIRS_PER_1000 * lines / 1000, found
