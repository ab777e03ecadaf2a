"""Walks through an ONNX model, every node and every tensor, wherever it lies; and the model without its large weights.

A tensor may be a weight of the graph, of a graph inside of a node (If, Loop), or an attribute of a node (Constant), and
any of them may have its numbers in another file. The objects are those of the library `onnx`, which is not imported
here.

    for node in nodes(model): …
    for tensor in tensors(model): …
    light = skeleton(model)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL
# Bits of an element by TensorProto.DataType, as docs/IR.md and onnx.proto of onnx/onnx say.
_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
}
_SMALL = 1024  # elements: what may be a shape, and not a weight


def nodes(model: Any) -> Iterator[Any]:  # noqa: ANN401 — onnx has no types
    """Every node of a model: of its graph, of graphs inside of nodes, and of its functions."""
    for graph in graphs(model):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for inner in _inside(node):
                yield from inner.node


def graphs(model: Any) -> Iterator[Any]:  # noqa: ANN401
    """A model's graph and every graph inside of its nodes."""
    yield model.graph
    for node in model.graph.node:
        yield from _inside(node)


def tensors(model: Any) -> Iterator[Any]:  # noqa: ANN401
    """Every tensor of a model that holds numbers."""
    functions = (inner for function in model.functions for node in function.node for inner in _inside(node))
    for graph in (*graphs(model), *functions):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes(model):
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors


def external(tensor: Any) -> bool:  # noqa: ANN401
    """Whether the numbers of a tensor lie in another file."""
    return bool(tensor.data_location == EXTERNAL)


def elements(tensor: Any) -> int:  # noqa: ANN401
    """How many numbers a tensor has, by its shape."""
    return math.prod(tensor.dims)


def bytes_of(tensor: Any) -> int | None:  # noqa: ANN401
    """How many bytes the numbers of a tensor take, or None where its type or shape does not say."""
    bits = _BITS.get(tensor.data_type)
    if bits is None or min(tensor.dims, default=0) < 0:
        return None
    return int(elements(tensor) * bits + 7) // 8


def skeleton(model: Any, small: Callable[[Any], Any] | None = None) -> Any:  # noqa: ANN401
    """The graph with inputs for its large weights, on whose numbers no shape depends: what serializes a model whole
    ends at 2 GiB.

    `small` gives what stands in the place of each small weight; without it they stay as they are.
    """
    light = type(model)(ir_version=model.ir_version, opset_import=model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    for name in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(graph, name).extend(getattr(model.graph, name))
    inputs = {item.name for item in graph.input}
    for weight in model.graph.initializer:
        if elements(weight) <= _SMALL:
            graph.initializer.append(weight if small is None else small(weight))
        elif weight.name not in inputs:
            kind = graph.input.add(name=weight.name).type.tensor_type
            kind.elem_type = weight.data_type
            for size in weight.dims:
                kind.shape.dim.add(dim_value=size)
    return light


def label(node: Any) -> str:  # noqa: ANN401
    """What to call a node: its name, or else its first result."""
    return repr(node.name or next(iter(node.output), "without a name"))


def _inside(node: Any) -> Iterator[Any]:  # noqa: ANN401
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield graph
            for inner in graph.node:
                yield from _inside(inner)
