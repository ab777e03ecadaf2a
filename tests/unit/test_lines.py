"""One statement does one thing: what house style asks of a line and ruff does not check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("model_registry", "stack", "ansible/plugins", "images")
SHIPPED = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))
PAIRS_PER_1000 = 2.0


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a kind in what is shipped, and where it stands."""
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def test_no_ternary_stands_inside_a_ternary() -> None:
    nested = [
        where
        for where, node in nodes(ast.IfExp)
        if any(isinstance(inner, ast.IfExp) for inner in ast.walk(node) if inner is not node)
    ]
    assert not nested, "write an if"


def test_tuples_assign_only_what_belongs_together_as_a_pair() -> None:
    tuples = [
        where
        for where, node in nodes(ast.Assign)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)
    ]
    lines = sum(len(path.read_text().splitlines()) for path in SHIPPED)
    assert len(tuples) <= PAIRS_PER_1000 * lines / 1000, tuples
