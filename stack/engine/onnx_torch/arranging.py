"""Operators that arrange what is there in other shapes, and those that say or fill a shape.

What decides on a shape has to be known when the graph is read: weights, constants, and what is computed from shapes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from stack.engine.onnx_torch.node import Given, Node, Operator, operator


def axes(node: Node, index: int = 1) -> list[int] | None:
    """An attribute until opset 12 or 17, an input after; None where there is none."""
    found: list[int] | None = node.numbers(index) if node.has(index) else node.get("axes")
    return found


def _reshape(x: Given, node: Node) -> Tensor:
    sizes = node.numbers(1) or []
    if not node.get("allowzero", 0):
        sizes = [x[0].shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x[0].reshape(sizes)


def _flatten(x: Given, node: Node) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x[0].ndim if axis < 0 else axis
    return x[0].reshape(math.prod(x[0].shape[:axis]), math.prod(x[0].shape[axis:]))


def _squeeze(x: Given, node: Node) -> Tensor:
    chosen = axes(node)
    return x[0].squeeze() if chosen is None else x[0].squeeze(chosen)


def _unsqueeze(x: Given, node: Node) -> Tensor:
    result = x[0]
    chosen = axes(node) or []
    for axis in sorted(axis % (x[0].ndim + len(chosen)) for axis in chosen):
        result = result.unsqueeze(axis)
    return result


def _transpose(x: Given, node: Node) -> Tensor:
    return x[0].permute(node.get("perm", list(reversed(range(x[0].ndim)))))


def _slice(x: Given, node: Node) -> Tensor:
    starts = node.numbers(1) or []
    ends = node.numbers(2) or []
    chosen = node.numbers(3) or list(range(len(starts)))
    steps = node.numbers(4) or [1] * len(starts)
    result = x[0]
    for start, end, axis, step in zip(starts, ends, chosen, steps, strict=True):
        result = _slice_axis(result, axis, start, end, step)
    return result


def _slice_axis(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    """torch takes no negative steps: the same places forwards, then turned round."""
    size = x.shape[axis]
    if step < 0 and start < -size:
        start = 0  # ONNX begins at the first place, where Python takes none
    places = range(*slice(start, end, step).indices(size))
    if not places:
        return x.narrow(axis, 0, 0)
    where = [slice(None)] * x.ndim
    where[axis] = slice(min(places[0], places[-1]), max(places[0], places[-1]) + 1, abs(step))
    found = x[tuple(where)]
    return found.flip(axis) if step < 0 else found


def _split(x: Given, node: Node) -> tuple[Tensor, ...]:
    """Into parts of these sizes, else into equal ones, of which the last may be smaller."""
    axis = node.get("axis", 0)
    sizes = node.numbers(1) if node.has(1) else node.get("split")
    count = len(node.outputs)
    parts: tuple[Tensor, ...] = torch.split(x[0], sizes or -(-x[0].shape[axis] // count), axis)
    if len(parts) != count or node.get("num_outputs", count) != count:
        raise node.refused(f"of {x[0].shape[axis]} into {node.get('num_outputs', count)} parts")
    return parts


def _expand(x: Given, node: Node) -> Tensor:
    return x[0].expand(torch.broadcast_shapes(x[0].shape, node.numbers(1) or []))


def _pad(x: Given, node: Node) -> Tensor:
    sizes = node.numbers(1) or []
    chosen = node.numbers(3) or list(range(len(sizes) // 2))
    mode = node.get("mode", "constant")
    result = x[0]
    for axis, before, after in zip(chosen, sizes[: len(chosen)], sizes[len(chosen) :], strict=True):
        if mode == "constant":
            behind = result.ndim - 1 - axis % result.ndim
            result = functional.pad(result, [0, 0] * behind + [before, after], value=node.number(2, 0))
        elif before or after:
            result = _pad_with_own(result, axis % result.ndim, before, after, node)
    return result


def _pad_with_own(x: Tensor, axis: int, before: int, after: int, node: Node) -> Tensor:
    """With numbers that are there: the edge, or what lies beside it, mirrored at it or from the other side."""
    mode = node.get("mode")
    size = x.shape[axis]
    most = size - 1 if mode == "reflect" else size
    if min(before, after) < 0 or (mode != "edge" and max(before, after) > most):
        raise node.refused(f"with mode={mode} by {before} and {after} of {size}")
    if mode == "edge":
        shape = list(x.shape)
        parts = [x.narrow(axis, 0, 1).expand([*shape[:axis], before, *shape[axis + 1 :]]), x]
        parts.append(x.narrow(axis, size - 1, 1).expand([*shape[:axis], after, *shape[axis + 1 :]]))
    elif mode == "reflect":
        parts = [x.narrow(axis, 1, before).flip(axis), x, x.narrow(axis, size - 1 - after, after).flip(axis)]
    elif mode == "wrap":
        parts = [x.narrow(axis, size - before, before), x, x.narrow(axis, 0, after)]
    else:
        raise node.refused(f"with mode={mode}")
    return torch.cat(parts, axis)


def _shape(x: Given, node: Node) -> Tensor:
    return torch.tensor(list(x[0].shape)[node.get("start", 0) : node.get("end", None)], dtype=torch.int64)


def _constant_of_shape(x: Given, node: Node) -> Tensor:
    value = node.get("value", torch.zeros(1))
    return value.reshape(()).expand(node.numbers(0) or []).clone()


def _range(x: Given, node: Node) -> Tensor:
    start, limit, delta = (node.number(index) for index in range(3))
    count = max(math.ceil((limit - start) / delta), 0)
    return (start + torch.arange(count, dtype=x[0].dtype) * delta).to(x[0].dtype)


OPERATORS: dict[str, Operator] = {
    "Concat": operator(lambda x, node: torch.cat(list(x), node.get("axis")), "axis"),
    "ConstantOfShape": operator(_constant_of_shape, "value"),
    "Expand": operator(_expand),
    "Flatten": operator(_flatten, "axis"),
    "Pad": operator(_pad, "mode"),
    "Range": operator(_range),
    "Reshape": operator(_reshape, "allowzero"),
    "Shape": operator(_shape, "start", "end"),
    "Size": operator(lambda x, node: torch.tensor(x[0].numel(), dtype=torch.int64)),
    "Slice": operator(_slice),
    "Split": operator(_split, "axis", "split", "num_outputs"),
    "Squeeze": operator(_squeeze, "axes"),
    "Tile": operator(lambda x, node: x[0].repeat(node.numbers(1))),
    "Transpose": operator(_transpose, "perm"),
    "Unsqueeze": operator(_unsqueeze, "axes"),
}
