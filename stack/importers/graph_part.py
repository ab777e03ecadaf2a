"""The part of vla.toml that follows from the graphs: how they are wired, the loop, the output, and the goldens.

`homeport model export` makes graphs after a person has worked on vla.toml. So this part stands last, below a line that
nobody types, and is replaced alone:

    part = graph_part(graphs, loop, output, goldens)     what an export hands over, in the contract's own words
    replace_part(folder, part)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from model_registry.authoring import AUTHORED, UNKNOWN
from model_registry.core.contract import Golden
from model_registry.core.contract.graphs import Graph, Loop
from model_registry.core.contract.output import ActionOutput
from model_registry.core.errors import NotFoundError, RefusedError
from model_registry.core.files import Files
from stack.importers.toml_text import TomlTable, text

MARK = "# ---- from here to the end `homeport model export` writes; edit above this line ----"


def graph_part(
    graphs: Sequence[Graph], loop: Loop | None, output: ActionOutput, goldens: Sequence[Golden]
) -> list[TomlTable]:
    """Tables of a whole export. Shapes of inputs are written where the graph says that they are `explicit`."""
    tables: list[TomlTable] = []
    for graph in graphs:
        shapes = {item.name: list(item.shape) for item in graph.inputs if item.name in graph.explicit}
        outputs = [{"name": item.name, "dtype": item.dtype, "shape": list(item.shape)} for item in graph.outputs]
        inputs = {item.name: (item.source, "") for item in graph.inputs}
        tables += graph_tables(graph.id, graph.path, graph.runs, inputs, outputs, shapes)
    if loop is not None:
        tables.append(_loop(loop))
    tables.append(_output(output))
    tables += [_golden(golden) for golden in goldens]
    return tables


def graph_tables(
    name: str,
    path: str,
    runs: str,
    inputs: Mapping[str, tuple[str, str]],
    outputs: Sequence[Mapping[str, object]],
    shapes: Mapping[str, object],
) -> list[TomlTable]:
    """One graph. `inputs`: name → what fills it, and a comment."""
    table = TomlTable("graphs", many=True)
    table.add("id", name)
    table.add("path", path)
    table.add("runs", runs)
    table.add("outputs", list(outputs))
    if shapes:
        table.add("shapes", dict(shapes), "as the graph has them, where what is prepared has another shape")
    wires = TomlTable("graphs.inputs")
    for end, (source, comment) in inputs.items():
        wires.add(end, source, comment)
    return [table, wires]


def to_come(directory: str) -> list[TomlTable]:
    """What stands there until the graphs are exported."""
    table = TomlTable("graphs", f"`homeport model export {directory} --out .` makes the graphs and goldens", many=True)
    table.add("id", UNKNOWN)
    return [table]


def replace_part(folder: Path, part: Sequence[TomlTable]) -> None:
    """Write `part` in the place of all that stands below the mark. Raises NotFoundError or RefusedError."""
    path = folder / AUTHORED
    if not path.is_file():
        raise NotFoundError(f"{path}: not there; run `homeport model init` first, then export into the same folder")
    whole = path.read_text(encoding="utf-8")
    above, mark, _ = whole.partition(MARK)
    if not mark:
        raise RefusedError(f"{path}: has no line {MARK!r}; put it where the graphs begin, and remove all below it")
    Files().write(path, f"{above}{MARK}\n\n{text(part)}".encode())


def _loop(loop: Loop) -> TomlTable:
    table = TomlTable("loop")
    table.add("method", loop.method)
    table.add("times", list(loop.times))
    table.add("time_dtype", loop.time_dtype)
    table.add("v", loop.v)
    if loop.method == "ddim":
        table.add("alphas", list(loop.alphas))
        table.add("prediction", loop.prediction)
    if loop.clip is not None:
        table.add("clip", loop.clip)
    return table


def _output(output: ActionOutput) -> TomlTable:
    table = TomlTable("output")
    table.add("from", output.source)
    if output.first:
        table.add("first", output.first)
    table.add("columns", list(output.columns))
    if output.advisory is not None:
        advisory, column = output.advisory
        table.add("advisory", {"name": advisory, "column": column})
    return table


def _golden(golden: Golden) -> TomlTable:
    table = TomlTable("goldens", many=True)
    table.add("path", golden.path)
    table.add("tolerance", {precision: list(limits) for precision, limits in golden.tolerance.items()})
    return table
