"""The rooms of the agent: who may import whom, and what each is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.rig import TOP

AGENT = TOP / "stack/agent"
FLOORS = (
    ("__main__", "build"),
    ("cli",),
    ("api",),
    ("upkeep",),
    ("doctor",),
    ("change",),
    ("gate",),
    ("host",),
    ("work",),
    ("disk",),
    ("runtime",),
    ("settings",),
    ("machine",),
    ("supervisor", "reports"),
)
"""From above to below. What stands on one floor does not know the others of it."""
HEIGHT = {room: -number for number, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(AGENT.glob("**/*.py"))
FOLDERS = sorted(path for path in AGENT.iterdir() if path.is_dir() and list(path.glob("*.py")))


def room(path: Path) -> str:
    return path.relative_to(AGENT).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """The rooms that a module imports from, also where only types are wanted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "stack.agent":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stack.agent."):
            yield node.module.split(".")[2]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[2] for alias in node.names if alias.name.startswith("stack.agent."))


def test_every_module_has_a_room() -> None:
    assert {room(path) for path in MODULES} == {*HEIGHT, "__init__"}


def test_rooms_import_from_those_below_only() -> None:
    wrong = [
        f"{path.relative_to(AGENT)} imports {other}"
        for path in MODULES
        for other in imported(path)
        if other != room(path) and HEIGHT[other] >= HEIGHT[room(path)]
    ]
    assert not wrong


def test_within_a_room_nobody_imports_in_a_circle() -> None:
    known = {path.relative_to(TOP).with_suffix("").as_posix().replace("/", "."): path for path in MODULES}
    below: dict[str, set[str]] = {}
    for name, path in known.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        both = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        below[name] = (both | {node.module or "" for node in nodes}) & set(known)
    while free := [name for name, others in below.items() if not others & set(below)]:
        for name in free:
            del below[name]
    assert not below


def test_no_import_is_for_types_only() -> None:
    assert not [path.name for path in MODULES if "TYPE_CHECKING" in path.read_text()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_room_says_what_it_is_for(folder: Path) -> None:
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
