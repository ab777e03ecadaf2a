"""Operators that make one number of many along axes, and those that look along an axis: sums so far, softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stack.engine.onnx_torch.arranging import axes
from stack.engine.onnx_torch.node import Given, Node, Operator, operator, whole_numbers

Reduction = Callable[[Tensor, list[int], bool], Tensor]
"""Of a tensor along axes; the reduced axes stay, of size 1, or go."""


def _reduction(reduce: Reduction, *, floats_only: bool = False, noop: bool = False) -> Operator:
    """`noop`: without axes a node may ask for what it was given, which for a sum of squares is not clear."""

    def run(x: Given, node: Node) -> Tensor:
        if floats_only and whole_numbers(x[0]):
            raise node.refused(f"of {x[0].dtype}".replace("torch.", ""))
        chosen = axes(node)
        if not chosen and node.get("noop_with_empty_axes", 0):
            return x[0]
        return reduce(x[0], chosen or list(range(x[0].ndim)), bool(node.get("keepdims", 1)))

    if noop:
        return operator(run, "axes", "keepdims", "noop_with_empty_axes")
    return operator(run, "axes", "keepdims", noop_with_empty_axes=0)


def _sum(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return torch.sum(x, dim=dim, keepdim=keepdim, dtype=x.dtype)


def _product(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in dim), reverse=True):
        x = torch.prod(x, dim=axis, keepdim=keepdim, dtype=x.dtype)
    return x


def _cumulated(x: Given, node: Node) -> Tensor:
    """Sums of all numbers up to each; `exclusive` without itself, `reverse` from the end."""
    axis = node.number(1)
    given = x[0].flip(axis) if node.get("reverse", 0) else x[0]
    sums = torch.cumsum(given, dim=axis, dtype=x[0].dtype)
    if node.get("exclusive", 0):
        first = torch.zeros_like(sums.narrow(axis, 0, 1))
        sums = torch.cat([first, sums.narrow(axis, 0, sums.shape[axis] - 1)], axis)
    return sums.flip(axis) if node.get("reverse", 0) else sums


def _softmax(compute: Callable[..., Any]) -> Operator:
    """Until opset 12 over all axes from the given one on, after along the one."""

    def run(x: Given, node: Node) -> Tensor:
        if node.opset >= 13:
            return compute(x[0], dim=node.get("axis", -1))
        axis = node.get("axis", 1) % x[0].ndim
        return compute(x[0].flatten(axis), dim=-1).reshape(x[0].shape)

    return operator(run, "axis")


OPERATORS: dict[str, Operator] = {
    "CumSum": operator(_cumulated, "exclusive", "reverse"),
    "LogSoftmax": _softmax(torch.log_softmax),
    "ReduceL1": _reduction(lambda x, dim, keepdim: _sum(x.abs(), dim, keepdim)),
    "ReduceL2": _reduction(lambda x, dim, keepdim: torch.linalg.vector_norm(x, 2, dim, keepdim), floats_only=True),
    "ReduceLogSumExp": _reduction(lambda x, dim, keepdim: torch.logsumexp(x, dim, keepdim), floats_only=True),
    "ReduceMax": _reduction(lambda x, dim, keepdim: torch.amax(x, dim, keepdim), noop=True),
    "ReduceMean": _reduction(lambda x, dim, keepdim: torch.mean(x, dim, keepdim), floats_only=True, noop=True),
    "ReduceMin": _reduction(lambda x, dim, keepdim: torch.amin(x, dim, keepdim), noop=True),
    "ReduceProd": _reduction(_product, noop=True),
    "ReduceSum": _reduction(_sum, noop=True),
    "ReduceSumSquare": _reduction(lambda x, dim, keepdim: _sum(x * x, dim, keepdim)),
    "Softmax": _softmax(torch.softmax),
}
