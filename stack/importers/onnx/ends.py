"""What ONNX files take and give, read with the library `onnx`; no weight is read, however large they are.

graph = GraphFile.read(Path("policy.onnx"))
graph.inputs, graph.outputs, graph.others
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_registry.core.axes import dtype_name
from model_registry.core.errors import NotFoundError, UsageError
from model_registry.core.onnx_parts import external, tensors
from model_registry.inspection.tensors import place_of

Size = int | str
"""Of one axis: a number, its name, or "" where the graph says nothing."""
_RESERVED = frozenset({"cameras", "text"})  # what they give would be called like cameras.front or text.mask


@dataclass(frozen=True)
class GraphEnd:
    """An input or output: element type in numpy's words, and the size of each axis."""

    name: str
    dtype: str
    shape: tuple[Size, ...]

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(str(size) or '?' for size in self.shape)}]"

    def fixed(self, axis: int) -> int | None:
        """The size of an axis, where it is a number. A first axis without one is a batch: 1."""
        size = self.shape[axis]
        if isinstance(size, int):
            return size
        return 1 if axis % len(self.shape) == 0 and len(self.shape) > 1 else None


@dataclass(frozen=True)
class GraphFile:
    """One file: `id` is its name in a contract, `others` the files beside it that hold its weights."""

    id: str
    file: Path
    inputs: tuple[GraphEnd, ...]
    outputs: tuple[GraphEnd, ...]
    others: tuple[str, ...]

    @classmethod
    def read(cls, file: Path) -> GraphFile:
        """Raises NotFoundError or UsageError naming the file."""
        from model_registry.inspection.graphs import read

        if not file.is_file():
            raise NotFoundError(f"{file}: no such file; name an ONNX file or a LeRobot policy directory")
        try:
            model = read(file)
        except ValueError as error:
            raise UsageError(f"{file}: is not an ONNX graph ({error}); export the policy to ONNX first") from error
        weights = {item.name for item in model.graph.initializer}
        return cls(
            id=_identifier(file.stem),
            file=file,
            inputs=tuple(_end(item, file) for item in model.graph.input if item.name not in weights),
            outputs=tuple(_end(item, file) for item in model.graph.output),
            others=_locations(model),
        )


def _identifier(stem: str) -> str:
    word = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_") or "graph"
    word = f"graph_{word}" if word[0].isdigit() else word
    return f"{word}_graph" if word in _RESERVED else word[:64]


def _end(item: Any, file: Path) -> GraphEnd:  # noqa: ANN401 — onnx has no types
    if not item.type.HasField("tensor_type"):
        raise UsageError(
            f"{file}: {item.name!r} is not a tensor but a {item.type.WhichOneof('value')}, which no robot can fill; "
            "export the graph with tensors only"
        )
    tensor = item.type.tensor_type
    sizes: tuple[Size, ...] = tuple(dim.dim_value if dim.dim_value > 0 else dim.dim_param for dim in tensor.shape.dim)
    return GraphEnd(item.name, dtype_name(tensor.elem_type), sizes)


def _locations(model: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The files that the weights of a graph lie in, beside its own."""
    return tuple(sorted({place_of(tensor)[0] for tensor in tensors(model) if external(tensor)}))
