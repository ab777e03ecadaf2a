"""How the graphs of a model are wired: what each reads and gives, and how often it runs.

One rule: a graph runs again when something that it reads is new. So one that reads only words and a goal runs once a
`command`, one that reads what the body sees once a `frame`, and one that reads the `x` or `time` of the loop, or what
such a graph gives, once a `step` of the loop.

    [[graphs]]                               a vision-language prefix, and an expert that runs ten times a frame
    id = "prefix"
    path = "prefix.onnx"
    runs = "frame"
    inputs = { images = "cameras.front", tokens = "text", mask = "text.mask", state = "state" }
    outputs = [{ name = "cache", dtype = "float32", shape = [16, 1, 5, 177, 64] }]

    [[graphs]]
    id = "expert"
    path = "expert.onnx"
    runs = "step"
    inputs = { cache = "prefix.cache", x = "x", t = "time" }
    outputs = [{ name = "v", dtype = "float32", shape = [1, 50, 32] }]

    [loop]
    method = "euler"
    times = [1.0, 0.9, …, 0.0]
    v = "expert.v"
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from model_registry.core.contract.cameras import NUMBERS, TensorType, check_id
from model_registry.core.documents import Reader, as_integer, as_number, as_text
from model_registry.core.errors import UsageError
from model_registry.core.paths import check_path

DTYPES = ("float32", "float16", "int64", "int32", "uint8", "bool")
COMMAND, FRAME, STEP = "command", "frame", "step"
X, TIME = "x", "time"
METHODS = ("euler", "ddim")
PREDICTIONS = ("epsilon", "sample")
MOST_STEPS = 1000
_OF_A_COMMAND = frozenset({"text", "text.mask", "goal"})


@dataclass(frozen=True)
class GraphTensor:
    """A tensor of a graph: its name there, type and shape; `source` is what fills it, empty for one that comes out."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: str = ""

    @classmethod
    def read(cls, reader: Reader) -> GraphTensor:
        return cls(reader.text("name"), reader.text("dtype", DTYPES), _shape(reader, "shape"))


@dataclass(frozen=True)
class Graph:
    """One ONNX file.

    Until it is `wired`, its inputs have no types, and only the `explicit` ones, whose shapes the contract gives, have
    shapes.
    """

    id: str
    path: str
    runs: str
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    explicit: tuple[str, ...] = ()

    @classmethod
    def read(cls, reader: Reader) -> Graph:
        """`shapes` gives an input another shape than its source's, with as many numbers: such as none for a batch."""
        sources = reader.table("inputs", as_text)
        shapes = reader.table("shapes", _as_shape) if reader.has("shapes") else {}
        if unknown := sorted(shapes.keys() - sources.keys()):
            raise UsageError(f"{reader.path}.shapes: the graph has no input {unknown[0]!r}; name one of its inputs")
        outputs = reader.objects("outputs", GraphTensor.read)
        if not outputs or len({item.name for item in outputs}) != len(outputs):
            raise UsageError(f"{reader.path}.outputs: name each output once, and at least one")
        return cls(
            id=check_id(reader.text("id"), f"{reader.path}.id"),
            path=check_path(reader.text("path"), f"{reader.path}.path"),
            runs=reader.text("runs", (COMMAND, FRAME, STEP)),
            inputs=tuple(GraphTensor(name, "", shapes.get(name, ()), source) for name, source in sources.items()),
            outputs=outputs,
            explicit=tuple(shapes),
        )

    def wired(self, path: str, known: Mapping[str, TensorType]) -> Graph:
        """The same graph with types and shapes of its inputs, from those of their sources. Raises UsageError."""
        inputs = []
        for item in self.inputs:
            if item.source not in known:
                raise UsageError(
                    f"{path}.inputs.{item.name}: nothing is called {item.source!r}; there are "
                    f"{', '.join(sorted(known))}"
                )
            tensor = known[item.source]
            shape = item.shape if item.name in self.explicit else tensor.shape
            if math.prod(shape) != math.prod(tensor.shape):
                raise UsageError(
                    f"{path}.shapes.{item.name}: {list(shape)} holds another number of elements than the "
                    f"{list(tensor.shape)} of {item.source}; make them agree"
                )
            inputs.append(replace(item, dtype=tensor.dtype, shape=shape))
        return replace(self, inputs=tuple(inputs), explicit=())

    def gives(self) -> dict[str, TensorType]:
        """What later graphs and the output may read: `<id>.<tensor>`."""
        return {f"{self.id}.{item.name}": TensorType(item.dtype, item.shape) for item in self.outputs}


@dataclass(frozen=True)
class Loop:
    """Noise becomes actions in steps: `x` begins as the noise, and each step reads `x` and `time` and gives `v`.

    euler: x += (times[n + 1] − times[n]) · v, for one step less than there are times. ddim: `v` is the noise that the
    network sees in x (`epsilon`) or what it takes x for (`sample`); `alphas` are the cumulative products of 1 − β, one
    for each of the times and one more behind the last; what x is taken for is cut to ±`clip`, where there is one.
    """

    method: str
    times: tuple[float, ...]
    v: str
    time_dtype: str = "float32"
    alphas: tuple[float, ...] = ()
    prediction: str = "epsilon"
    clip: float | None = None

    @classmethod
    def read(cls, reader: Reader) -> Loop:
        method = reader.text("method", METHODS)
        ddim = method == "ddim"
        made = cls(
            method=method,
            times=reader.items("times", as_number),
            v=reader.text("v"),
            time_dtype=reader.text_or("time_dtype", "float32", ("float32", "int64")),
            alphas=reader.items("alphas", as_number) if ddim else (),
            prediction=reader.text_or("prediction", "epsilon", PREDICTIONS) if ddim else "epsilon",
            clip=reader.number("clip", 1e-6) if ddim and reader.has("clip") else None,
        )
        made._check(reader.path)
        return made

    def _check(self, path: str) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"{path}.times: makes {self.steps} steps; give times for 1 to {MOST_STEPS}")
        if self.method == "ddim" and len(self.alphas) != len(self.times) + 1:
            raise UsageError(
                f"{path}.alphas: {len(self.alphas)} numbers for {len(self.times)} times; give one for each and one more"
            )
        if any(not 0.0 < alpha < 1.0 for alpha in self.alphas[:-1]) or any(not 0.0 < x <= 1.0 for x in self.alphas):
            raise UsageError(
                f"{path}.alphas: products of 1 − β lie between 0 and 1, and only the last one may be 1; copy the "
                "scheduler's"
            )
        if self.time_dtype == "int64" and any(not time.is_integer() for time in self.times):
            raise UsageError(f"{path}.times: a time_dtype of int64 needs whole numbers; give them, or say float32")

    @property
    def steps(self) -> int:
        """How often its graphs run for one chunk of actions."""
        return len(self.times) - (self.method == "euler")


def wire(
    graphs: tuple[Graph, ...], sources: Mapping[str, TensorType], loop: Loop | None, path: str
) -> tuple[tuple[Graph, ...], dict[str, TensorType]]:
    """Give every input its type and shape; also, by name, all that an output may be read from.

    Raises UsageError naming what does not fit: a source that is not there, one that nobody reads, a graph that runs at
    another time than it says.
    """
    if not graphs or len({graph.id for graph in graphs}) != len(graphs):
        raise UsageError(f"{path}.graphs: give at least one graph, each with an id of its own")
    known = dict(sources)
    if loop is not None:
        if "noise" not in sources:
            raise UsageError(f"{path}.loop: it begins with noise; add observation.noise with the shape of x")
        known |= {X: sources["noise"], TIME: TensorType(loop.time_dtype, (1,))}
    runs = {name: _runs(name) for name in known}
    made = []
    results: dict[str, TensorType] = {}
    for index, graph in enumerate(graphs):
        place = f"{path}.graphs[{index}]"
        graph = graph.wired(place, known)
        if taken := sorted(graph.gives().keys() & sources.keys()):
            raise UsageError(f"{place}.id: {taken[0]!r} is an observation already; give the graph another id")
        when = _when([runs[item.source] for item in graph.inputs])
        if graph.runs != when:
            raise UsageError(f"{place}.runs: {graph.id} reads what is new each {when}; say runs = {when!r}")
        made.append(graph)
        results |= graph.gives()
        known |= graph.gives()
        runs |= dict.fromkeys(graph.gives(), when)
    _check_loop(loop, sources, results, runs, path)
    read = {item.source for graph in made for item in graph.inputs}
    if loop is not None:
        read.add("noise")
        results[X] = sources["noise"]
    if unread := sorted(sources.keys() - read):
        raise UsageError(f"{path}.observation: no graph reads {unread[0]!r}; wire it to an input, or leave it away")
    return tuple(made), results


def _check_loop(
    loop: Loop | None,
    sources: Mapping[str, TensorType],
    results: Mapping[str, TensorType],
    runs: Mapping[str, str],
    path: str,
) -> None:
    if loop is None:
        return
    v, noise = results.get(loop.v), sources["noise"]
    fits = v is not None and v.dtype in NUMBERS and math.prod(v.shape) == math.prod(noise.shape)
    if not fits or runs[loop.v] != STEP:
        raise UsageError(
            f"{path}.loop.v: {loop.v!r} must be numbers that a graph gives each step, as many as the noise "
            f"{list(noise.shape)}; name such a tensor"
        )


def _runs(source: str) -> str:
    if source in (X, TIME):
        return STEP
    return COMMAND if source in _OF_A_COMMAND else FRAME


def _when(read: list[str]) -> str:
    if STEP in read:
        return STEP
    return FRAME if FRAME in read or not read else COMMAND


def _shape(reader: Reader, key: str) -> tuple[int, ...]:
    return _as_shape(reader.items(key, as_integer), f"{reader.path}.{key}")


def _as_shape(value: object, path: str) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        raise UsageError(f"{path}: expected a list of sizes, got {value!r}"[:300])
    shape = tuple(as_integer(size, path) for size in value)
    if any(size < 1 for size in shape):
        raise UsageError(f"{path}: {list(shape)} must hold sizes of 1 or more; a robot runs fixed shapes")
    return shape
