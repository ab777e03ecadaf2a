"""From the ends of ONNX files to a drafted contract: what graphs say by names and shapes, and "?" for the rest."""

from __future__ import annotations

from collections.abc import Iterator

from model_registry.authoring import UNKNOWN
from stack.importers import sections
from stack.importers.draft import ContractDraft
from stack.importers.hints import ACTION, STATE, Hints
from stack.importers.onnx.cameras import camera, renamed
from stack.importers.onnx.ends import GraphEnd
from stack.importers.onnx.graphs import OutputGuess, golden, graphs, loop, shape_of
from stack.importers.onnx.guess import Guesses, InputGuess
from stack.importers.statistics_file import norm_stats, rows_of, state_rows
from stack.importers.toml_text import TomlTable

_STEPS = "how many of a chunk are carried out before the next one takes over"
_IN_GRAPH = "none where the graph itself does it"
_TEMPLATE = '"{text}", or with what stood around the words in training, such as "{text}\\n"'


def draft(guesses: Guesses, hints: Hints, name: str | None, version: str) -> ContractDraft:
    """The contract of some graphs, as far as it can be known."""
    cameras = renamed(guesses, hints)
    output = OutputGuess.of(guesses)
    width = _named(output.width, hints.names(ACTION))
    numbers = {} if hints.dataset is None else hints.dataset.statistics.get(ACTION, {})
    ranges = [numbers.get(end, ()) for end in ("min", "max")]
    known = all(len(row) == width for row in ranges)
    statistics = _statistics(guesses, hints, width)
    actions = sections.ActionDraft(
        width=width,
        horizon=output.horizon(),
        execute_steps=sections.Described.unknown(_STEPS),
        normalise=sections.normalise_unknown(_IN_GRAPH),
        low=ranges[0] if known else (),
        high=ranges[1] if known else (),
    )
    return ContractDraft(
        head=sections.head(name, version, None if statistics is None else sections.STATISTICS, hints),
        observation=list(_observation(guesses, hints, cameras)),
        action=sections.action(actions, hints),
        graphs=[*graphs(guesses, output, cameras), *loop(guesses), output.table(width), golden()],
        statistics=statistics,
    )


def _named(width: int | None, names: tuple[str, ...]) -> int | None:
    """How many numbers are used: as many as a dataset names, where the graph has more; the rest is padding."""
    return len(names) if names and width is not None and len(names) < width else width


def _statistics(guesses: Guesses, hints: Hints, width: int | None) -> bytes | None:
    """norm_stats.json from the statistics of a dataset, for what it names."""
    if hints.dataset is None:
        return None
    numbers = hints.dataset.statistics
    actions = rows_of(sections.action_names(width, hints), numbers.get(ACTION, {}))
    states: dict[str, dict[str, float]] = {}
    if (seen := guesses.find("state")) is not None:
        names, of = sections.state_names(_named(seen.end.fixed(-1), hints.names(STATE)), hints)
        states = state_rows(names, of, numbers.get(STATE, {}))
    return norm_stats(actions, states) if actions or states else None


def _observation(guesses: Guesses, hints: Hints, cameras: dict[str, str]) -> Iterator[TomlTable]:
    """A table for everything that some input is filled with."""
    top = TomlTable("observation")
    drawn: set[str] = set()
    tables: list[TomlTable] = []
    for guess in guesses.inputs():
        if guess.source in drawn:
            continue
        drawn.add(guess.source)
        tables += _tables(guess, guesses, hints, cameras)
        if guess.source == "prefix":
            top.add("prefix", _size(guess.end, -2), "so many of the actions that were still to come")
        elif guess.source == "delay":
            top.add("delay", True)
    return iter([top, *tables] if top.keys else tables)


def _tables(guess: InputGuess, guesses: Guesses, hints: Hints, cameras: dict[str, str]) -> list[TomlTable]:
    end = guess.end
    if guess.source in cameras or guess.source == "goal":
        return [camera(guess, cameras, hints)]
    if guess.source == "state":
        return [_state(end, hints)]
    if guess.source == "text":
        mask = guesses.find("text.mask")
        template = sections.Described.unknown(_TEMPLATE)
        length = end.fixed(-1) if len(end.shape) > 1 or isinstance(end.shape[-1], int) else None
        words = sections.TextDraft(length, end.dtype, None if mask is None else mask.end.dtype, template)
        return [sections.text(words, hints)]
    if guess.source == "lidar":
        table = TomlTable("observation.lidar")
        table.add("sectors", _size(end, -1))
        table.add("max_range_m", UNKNOWN, "the range in m that becomes 1")
        return [table]
    if guess.source in ("noise", "x"):
        table = TomlTable("observation.noise")
        table.add("shape", shape_of(end))
        if end.dtype != "float32":
            table.add("dtype", end.dtype)
        return [table]
    return []


def _state(end: GraphEnd, hints: Hints) -> TomlTable:
    width = end.fixed(-1) or 1
    named = _named(width, hints.names(STATE)) or 1
    frames = end.fixed(1) if len(end.shape) == 3 else 1
    made = sections.StateDraft(
        width=named,
        normalise=sections.normalise_unknown(_IN_GRAPH),
        frames=frames or 1,
        pad_to=width if named < width else None,
    )
    return sections.state(made, hints)


def _size(end: GraphEnd, axis: int) -> int | str:
    """The size of an axis; one size alone is no batch."""
    size = end.shape[axis] if len(end.shape) >= abs(axis) else ""
    return size if isinstance(size, int) else UNKNOWN
