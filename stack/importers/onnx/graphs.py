"""How foreign graphs are wired, looped over and read, as the last part of a drafted contract."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from model_registry.authoring import UNKNOWN
from model_registry.core.contract.graphs import METHODS, TIME, X
from stack.importers.graph_part import graph_tables
from stack.importers.onnx.ends import GraphEnd
from stack.importers.onnx.guess import Guesses, InputGuess, image_layout, snake
from stack.importers.sections import Described
from stack.importers.toml_text import TomlTable

_ACTIONS = ("action", "actions", "action_chunk", "action_pred", "pred_action", "pred_actions", "output", "chunk")
_FLOATS = ("float32", "float16")
Shape = list[int | str]


@dataclass(frozen=True)
class OutputGuess:
    """Where the actions come out; `end` is None where that cannot be told."""

    source: str
    end: GraphEnd | None
    why: str

    @classmethod
    def of(cls, guesses: Guesses) -> OutputGuess:
        """The x of a loop, or the one tensor that no other graph reads."""
        if guesses.loop is not None:
            noisy = next(each.end for each in guesses.loop.inputs if each.source == X)
            return cls(X, noisy, "what the loop has made of the noise")
        read = {each.source for each in guesses.inputs()}
        left = {f"{each.graph.id}.{end.name}": end for each in guesses.graphs for end in each.graph.outputs}
        left = {source: end for source, end in left.items() if source not in read and end.dtype in _FLOATS}
        named = {source: end for source, end in left.items() if snake(end.name) in _ACTIONS}
        for found, why in ((named, "by its name"), (left, "nothing else comes out")):
            if len(found) == 1:
                [(source, end)] = found.items()
                return cls(source, end, f"{end}: {why}")
        return cls(UNKNOWN, None, f"the actions; there are {', '.join(left) or 'no tensors that nothing else reads'}")

    @property
    def width(self) -> int | None:
        """How many columns it has."""
        if self.end is None or not self.end.shape:
            return None
        size = self.end.shape[-1]
        return size if isinstance(size, int) else None

    def horizon(self) -> Described:
        """How many rows, one an action."""
        if self.end is not None:
            sizes = [self.end.fixed(axis) for axis in range(len(self.end.shape) - 1)]
            whole = [size for size in sizes if size is not None]
            if len(whole) == len(sizes):
                return Described(math.prod(whole), "rows of the output")
        return Described.unknown("how many actions one inference gives")

    def table(self, used: int | None) -> TomlTable:
        """The table [output], of whose columns `used` are actions."""
        table = TomlTable("output")
        table.add("from", self.source, self.why)
        if used is not None and self.width is not None and used < self.width:
            names = f"--dataset names {used} of {self.width} columns; the others are taken for padding"
            table.add("columns", list(range(used)), names)
        return table


def graphs(guesses: Guesses, output: OutputGuess, cameras: dict[str, str]) -> Iterator[TomlTable]:
    """Every graph with what fills its inputs, and why that is thought."""
    read = {each.source for each in guesses.inputs()} | {output.source, _v(guesses)}
    for each in guesses.graphs:
        graph = each.graph
        used = [end for end in graph.outputs if f"{graph.id}.{end.name}" in read]
        if output.source == UNKNOWN or not used:
            used = list(graph.outputs)
        outputs = [{"name": end.name, "dtype": end.dtype, "shape": shape_of(end)} for end in used]
        inputs = {guess.end.name: (_source(guess, cameras), f"{guess.end}: {guess.why}") for guess in each.inputs}
        shapes = {guess.end.name: shape_of(guess.end) for guess in each.inputs if _is_shaped(guess)}
        yield from graph_tables(graph.id, graph.file.name, each.runs, inputs, outputs, shapes)


def _source(guess: InputGuess, cameras: dict[str, str]) -> str:
    return f"cameras.{cameras[guess.source]}" if guess.source in cameras else guess.source


def shape_of(end: GraphEnd) -> Shape:
    """The sizes of an end; a batch without one is 1."""
    sizes = [end.fixed(axis) for axis in range(len(end.shape))]
    return [UNKNOWN if size is None else size for size in sizes]


def _is_shaped(guess: InputGuess) -> bool:
    """Whether what is prepared for an input has another shape, with as many numbers."""
    rank = len(guess.end.shape)
    layout = image_layout(guess.end)
    if guess.source.startswith("cameras.") or guess.source == "goal":
        several = layout is not None and layout.frames > 1 and layout.stack == "axis"
        return rank != (5 if several else 4)
    if guess.source in ("text", "text.mask", "lidar"):
        return rank != 2
    if guess.source == "state":
        return rank != (3 if rank == 3 and guess.end.fixed(1) != 1 else 2)
    if guess.source in ("delay", TIME):
        return rank != 1
    return False


def _v(guesses: Guesses) -> str:
    """What the loop takes for its step: the one tensor of its graph that is as large as the noise."""
    if guesses.loop is None:
        return UNKNOWN
    noisy = next(each.end for each in guesses.loop.inputs if each.source == X)
    alike = [end for end in guesses.loop.graph.outputs if _alike(end, noisy)]
    return f"{guesses.loop.graph.id}.{alike[0].name}" if len(alike) == 1 else UNKNOWN


def _alike(end: GraphEnd, noisy: GraphEnd) -> bool:
    return end.dtype in _FLOATS and shape_of(end) == shape_of(noisy)


def loop(guesses: Guesses) -> Iterator[TomlTable]:
    """The table [loop], where a graph reads what only a loop fills."""
    if guesses.loop is None:
        return
    time = next(each.end for each in guesses.loop.inputs if each.source == TIME)
    table = TomlTable("loop", f"{guesses.loop.graph.id} reads {X} and {TIME}, so it runs once for each of the steps")
    table.add("method", UNKNOWN, f"one of {', '.join(METHODS)}")
    table.add("times", UNKNOWN, "in order, such as [1.0, 0.5, 0.0]; ddim also needs alphas and prediction")
    table.add("time_dtype", time.dtype)
    table.add("v", _v(guesses), "as large as the noise")
    yield table


def golden() -> TomlTable:
    """A golden that a person has to make: nothing else can say what is right."""
    table = TomlTable("goldens", "docs/bring-your-policy.md says how to make goldens with your own code", many=True)
    table.add("path", UNKNOWN, "an .npz file of raw observations and the actions they must give")
    table.add("tolerance", {"fp32": UNKNOWN}, "the largest difference, in units: one number, or one for each dimension")
    return table
