"""What an input of a foreign graph probably is, by its name, type and shape; what cannot be told stays unknown.

A guess needs a reason that a person would accept: an image is told by its shape, all others by a name that says what
they are and a type that fits. Nothing is guessed from a shape alone where two things have that shape: a row of numbers
may be joints, a scan, or anything.

    guesses = Guesses.of(graphs)       every input's source, and the graphs in the order in which they run
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from model_registry.core.contract.graphs import COMMAND, FRAME, STEP, TIME, X
from model_registry.core.errors import RefusedError
from stack.importers.onnx.ends import GraphEnd, GraphFile

UNKNOWN = "?"
_COLOURS = 3
_MOST_STACKED = 96
_SMALLEST_IMAGE = 8
_INTEGERS = ("int64", "int32")
_FLOATS = ("float32", "float16")
_IMAGES = (*_FLOATS, "uint8")


@dataclass(frozen=True)
class InputGuess:
    """What fills an input: a source of the contract, a tensor of another graph, or "?"; and why."""

    end: GraphEnd
    source: str
    why: str


@dataclass(frozen=True)
class GraphGuess:
    """A graph, how often it runs, and what fills its inputs."""

    graph: GraphFile
    runs: str
    inputs: tuple[InputGuess, ...]


@dataclass(frozen=True)
class ImageLayout:
    """How an image input is laid out: which axis is what, and how many frames of how many channels it holds."""

    layout: str
    channels: int
    frames: int
    stack: str
    height: int | None
    width: int | None


@dataclass
class Guesses:
    """`graphs` in the order in which they run; `loop`: which graph reads `x` and `time`, if one does."""

    graphs: list[GraphGuess] = field(default_factory=list)
    loop: GraphGuess | None = None

    @classmethod
    def of(cls, files: Sequence[GraphFile]) -> Guesses:
        """Raises RefusedError where two files have the same name, or read each other in a circle."""
        made = cls()
        known: dict[GraphEnd, InputGuess] = {}
        runs: dict[str, str] = {}
        for graph in in_order(files):
            guess = _graph(graph, files, known, runs)
            runs[graph.id] = guess.runs
            made.graphs.append(guess)
            if any(each.source == TIME for each in guess.inputs):
                made.loop = guess
        return made

    def inputs(self) -> Iterator[InputGuess]:
        """Every input of every graph."""
        for graph in self.graphs:
            yield from graph.inputs

    def find(self, source: str) -> InputGuess | None:
        """The first input that a source fills."""
        return next((each for each in self.inputs() if each.source == source), None)


def in_order(files: Sequence[GraphFile]) -> list[GraphFile]:
    """Each graph behind those whose tensors it reads. Raises RefusedError."""
    for graph in files:
        if [each.id for each in files].count(graph.id) > 1:
            raise RefusedError(f"{graph.file}: two graphs would be called {graph.id!r}; rename one of the files")
    left = list(files)
    found: list[GraphFile] = []
    while left:
        ready = [graph for graph in left if not any(_wire(end, graph, left) for end in graph.inputs)]
        if not ready:
            names = " and ".join(str(graph.file) for graph in left)
            raise RefusedError(
                f"{names}: each reads what the other gives; rename tensors that are not meant to be wired"
            )
        found += ready
        left = [graph for graph in left if graph not in ready]
    return found


def _wire(end: GraphEnd, graph: GraphFile, files: Sequence[GraphFile]) -> str | None:
    """The tensor of another graph that has this input's name and type, as <graph>.<tensor>."""
    for other in files:
        if other is graph:
            continue
        for output in other.outputs:
            if (output.name, output.dtype, len(output.shape)) == (end.name, end.dtype, len(end.shape)):
                return f"{other.id}.{output.name}"
    return None


def _graph(
    graph: GraphFile, files: Sequence[GraphFile], known: dict[GraphEnd, InputGuess], runs: dict[str, str]
) -> GraphGuess:
    """`known`: inputs of earlier graphs that observations fill; the same one is filled with the same."""
    found: dict[str, InputGuess] = {}
    in_loop = _loop_ends(graph)
    for end in graph.inputs:
        wire = _wire(end, graph, files)
        if end in known:
            found[end.name] = known[end]
        elif wire is not None:
            found[end.name] = InputGuess(end, wire, f"what {wire.partition('.')[0]} gives by the same name")
        elif end.name in in_loop:
            found[end.name] = InputGuess(end, in_loop[end.name], "one of the two that a loop of steps fills")
        else:
            source, why = _source(end, {each.source for each in known.values()}, files)
            found[end.name] = InputGuess(end, source, why)
            known[end] = found[end.name]
    inputs = tuple(found[end.name] for end in graph.inputs)
    return GraphGuess(graph, _runs([each.source for each in inputs], runs), inputs)


def _runs(sources: list[str], runs: dict[str, str]) -> str:
    """How often a graph runs: again when something that it reads is new."""
    often = [STEP if source in (X, TIME) else runs.get(source.partition(".")[0], "") for source in sources]
    if STEP in often:
        return STEP
    of_a_command = all(
        source in ("text", "text.mask", "goal") or often[index] == COMMAND for index, source in enumerate(sources)
    )
    return COMMAND if sources and of_a_command else FRAME


def _loop_ends(graph: GraphFile) -> dict[str, str]:
    """The two inputs of a graph that denoises, when it has one of each."""
    times = [end for end in graph.inputs if _TIME.fullmatch(snake(end.name)) and _is_one_number(end)]
    noisy = [end for end in graph.inputs if _NOISY.fullmatch(snake(end.name)) and _is_noise(end)]
    if len(times) != 1 or len(noisy) != 1:
        return {}
    return {times[0].name: TIME, noisy[0].name: X}


def _is_one_number(end: GraphEnd) -> bool:
    sizes = [size for size in end.shape if isinstance(size, int)]
    return end.dtype in ("float32", "int64") and math.prod(sizes) == 1


def _is_noise(end: GraphEnd) -> bool:
    return end.dtype in _FLOATS and len(end.shape) >= 2


def snake(name: str) -> str:
    """A tensor's name in small letters with _ between its words: noisyActions and noisy.actions are noisy_actions."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def image_layout(end: GraphEnd) -> ImageLayout | None:
    """How an input is laid out as images; None where its shape is no image's."""
    if end.dtype not in _IMAGES or len(end.shape) not in (3, 4, 5):
        return None
    body = end.shape[-3:]
    frames = end.shape[1] if len(end.shape) == 5 else 1
    for layout, channels, sizes in (("NCHW", body[0], body[1:]), ("NHWC", body[2], body[:2])):
        if not isinstance(channels, int) or not isinstance(frames, int):
            continue
        if any(isinstance(size, int) and size < _SMALLEST_IMAGE for size in sizes):
            continue
        height, width = (size if isinstance(size, int) else None for size in sizes)
        if channels == _COLOURS or (channels == 1 and _IMAGE.search(snake(end.name))):
            return ImageLayout(layout, channels, frames, "axis", height, width)
        stacked = channels % _COLOURS == 0 and channels <= _MOST_STACKED and _IMAGE.search(snake(end.name))
        if stacked and frames == 1:
            return ImageLayout(layout, _COLOURS, channels // _COLOURS, "channels", height, width)
    return None


def camera_name(tensor: str) -> str:
    """A camera's name from a tensor's: observation.images.top is top."""
    word = re.sub(r"^(?:observations?|obs|inputs?)[._/]", "", tensor)
    word = re.sub(r"^(?:images?|pixels|cameras?)[._/]", "", word)
    word = re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_")[:60]
    return word if word[:1].isalpha() else f"camera_{word}".rstrip("_")


def _source(end: GraphEnd, taken: set[str], files: Sequence[GraphFile]) -> tuple[str, str]:
    """The source of an input that no graph and no loop fills."""
    word = snake(end.name)
    if image_layout(end) is not None:
        source = "goal" if "goal" in word.split("_") else f"cameras.{camera_name(end.name)}"
        why = "an image by its shape, and the goal by its name" if source == "goal" else "an image by its shape"
        return (source, why) if source not in taken else (UNKNOWN, "another image of the same name")
    for source, pattern, fits in _NAMED:
        if pattern.fullmatch(word) and fits(end) and (source != "text.mask" or _has_words_of(end, files)):
            why = f"{source} by its name and type"
            return (source, why) if source not in taken else (UNKNOWN, f"a second {source} by its name")
    return UNKNOWN, "nothing in its name, type and shape says what it is"


def _has_words_of(mask: GraphEnd, files: Sequence[GraphFile]) -> bool:
    """Whether some graph takes tokens as long as this mask."""
    ends = [end for graph in files for end in graph.inputs if end.shape and end.shape[-1] == mask.shape[-1]]
    return any(_TEXT.fullmatch(snake(end.name)) and _is_row(end, _INTEGERS, 2) for end in ends)


def _is_row(end: GraphEnd, dtypes: tuple[str, ...], most: int) -> bool:
    return end.dtype in dtypes and 1 <= len(end.shape) <= most


_SEEN = r"(?:observations?_|obs_|inputs?_)?"
_SPOKEN = rf"{_SEEN}(?:language_|lang_|text_|task_|instruction_|command_|prompt_)?"
_TEXT = re.compile(
    rf"{_SPOKEN}(?:tokens?|token_ids|input_ids|ids)|{_SEEN}(?:text|instruction|command|prompt|language|task)"
)
_MASK = re.compile(rf"{_SPOKEN}(?:attention_|token_|tokens_)?masks?")
_LIDAR = re.compile(rf"{_SEEN}(?:lidar|scan|laser|laser_scan|ranges|lidar_ranges|scan_ranges)")
_STATE = re.compile(
    rf"{_SEEN}(?:(?:robot_|joint_|proprio_)?states?|proprio|proprioception|qpos|joints|joint_pos|joint_positions?|agent_pos)"
)
_TIME = re.compile(r"t|tau|time|time_?steps?|diffusion_step")
_NOISY = re.compile(r"x|x_?t|(?:noisy|noised)_actions?|noise|actions?_t|sample|trajectory|latents")
_IMAGE = re.compile(r"image|img|pixel|camera|rgb|gray|frame|goal")

_NAMED: tuple[tuple[str, re.Pattern[str], Callable[[GraphEnd], bool]], ...] = (
    ("text.mask", _MASK, lambda end: _is_row(end, ("bool", *_INTEGERS, "float32"), 2)),
    ("text", _TEXT, lambda end: _is_row(end, _INTEGERS, 2)),
    ("noise", re.compile(r"(?:\w+_)?noise"), _is_noise),
    ("prefix", re.compile(r"(?:actions?_)?prefix|prefix_actions?"), lambda end: _is_row(end, ("float32",), 3)),
    ("delay", re.compile(r"(?:inference_)?delay"), lambda end: end.dtype == "int64" and len(end.shape) <= 1),
    ("lidar", _LIDAR, lambda end: _is_row(end, ("float32",), 2)),
    ("state", _STATE, lambda end: _is_row(end, ("float32",), 3)),
)
"""Source, what its name looks like, and what its type and shape have to be."""
