"""Walks through an ONNX model: every node and every tensor, wherever it lies.

A tensor may be a weight of the graph, of a graph inside of a node (If, Loop), or an attribute of a node (Constant), and
any of them may have its numbers in another file. The objects are those of the library `onnx`, which is not imported
here.

    for node in nodes(model): …
    for tensor in tensors(model): …
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL


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


def label(node: Any) -> str:  # noqa: ANN401
    """What to call a node: its name, or else its first result."""
    return repr(node.name or next(iter(node.output), "without a name"))


def _inside(node: Any) -> Iterator[Any]:  # noqa: ANN401
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield graph
            for inner in graph.node:
                yield from _inside(inner)
