"""What an export tells: which graphs there are, how they are wired, the loop over them, and where actions come out.

The words are those of the contract: graphs run once a `frame` or once a `step`; a source is `cameras.<name>`, `state`,
`text`, `text.mask`, `noise`, `x`, `time`, or `<graph>.<tensor>` of an earlier graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from model_registry.core.contract.graphs import Loop

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
    loop: Loop | None = None
    observed: dict[str, ExportedTensor] = field(default_factory=dict)
    """Every source that is prepared from an observation, and its tensor: `cameras.<name>`, `state`, `text`, `noise`…"""
