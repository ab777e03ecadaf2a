"""What an export tells: which graphs there are, how they are wired, the loop over them, and where actions come out.

The words are those of the contract: graphs run once a `frame` or once a `step`; a source is `cameras.<name>`, `state`,
`text`, `text.mask`, `noise`, `x`, `time`, or `<graph>.<tensor>` of an earlier graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

FRAME = "frame"
STEP = "step"


class ExportedTensor(NamedTuple):
    """Name, element type in numpy's words, and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ExportedGraph:
    """One ONNX file. `inputs` are what it reads, and `sources` by the same names what fills them."""

    id: str
    path: str
    runs: str
    inputs: tuple[ExportedTensor, ...]
    outputs: tuple[ExportedTensor, ...]
    sources: dict[str, str]


@dataclass(frozen=True)
class ExportedLoop:
    """Noise becomes actions in steps: `x` begins as the noise; each step reads `x` and `time` and gives `v`.

    `euler`: x += (times[n + 1] - times[n]) · v, one step less than there are times. `ddim`: `alphas` are cumulative
    products of 1 - β, one for each of the times and one more behind the last; `v` is the noise in x (`epsilon`) or what
    x is taken for (`sample`), which is cut to ±`clip`, where there is one.
    """

    method: str
    times: tuple[float, ...]
    v: str
    time_dtype: str = "float32"
    alphas: tuple[float, ...] = ()
    prediction: str = "epsilon"
    clip: float | None = None


@dataclass(frozen=True)
class ExportedOutput:
    """`rows` actions from row `first` of `source`, which is `<graph>.<tensor>` or `x`; `columns` are their numbers."""

    source: str
    first: int
    rows: int
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Exported:
    """All graphs in the order in which they run; `output` in normalised actions."""

    graphs: tuple[ExportedGraph, ...]
    output: ExportedOutput
    loop: ExportedLoop | None = None
    observed: dict[str, ExportedTensor] = field(default_factory=dict)
    """Every source that is prepared from an observation, and its tensor: `cameras.<name>`, `state`, `text`, `noise`…"""
