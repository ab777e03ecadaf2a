"""Operators that take from or put to places given by number. A negative place counts from the end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stack.engine.onnx_torch.node import Given, Node, Operator, operator

_REDUCTIONS = {"add": "sum", "mul": "prod", "min": "amin", "max": "amax"}
"""How a number that is put somewhere joins the one that is there, in ONNX's words and in torch's."""


def _from_start(places: Tensor, size: int) -> Tensor:
    places = places.long()
    return torch.where(places < 0, places + size, places)


def _rows(places: Tensor, sizes: list[int]) -> Tensor:
    """Tuples of places [..., k] in a tensor of `sizes`: as numbers of its rows, when its first k axes are one."""
    result = torch.zeros_like(places[..., 0], dtype=torch.int64)
    for axis, size in enumerate(sizes):
        result = result * size + _from_start(places[..., axis], size)
    return result


def _gather(x: Given, node: Node) -> Tensor:
    axis = node.get("axis", 0) % x[0].ndim
    picked = torch.index_select(x[0], axis, _from_start(x[1].reshape(-1), x[0].shape[axis]))
    return picked.reshape([*x[0].shape[:axis], *x[1].shape, *x[0].shape[axis + 1 :]])


def _gather_elements(x: Given, node: Node) -> Tensor:
    axis = node.get("axis", 0)
    return torch.gather(x[0], axis, _from_start(x[1], x[0].shape[axis]))


def _gather_nd(x: Given, node: Node) -> Tensor:
    data, places = x
    batch = list(data.shape[: node.get("batch_dims", 0)])
    depth = places.shape[-1]
    sizes = list(data.shape[len(batch) : len(batch) + depth])
    rest = list(data.shape[len(batch) + depth :])
    rows = _rows(places, sizes).reshape(math.prod(batch), -1)
    first = torch.arange(math.prod(batch), device=data.device) * math.prod(sizes)
    table = data.reshape([math.prod(batch) * math.prod(sizes), *rest])
    picked = torch.index_select(table, 0, (rows + first.unsqueeze(1)).reshape(-1))
    return picked.reshape([*places.shape[:-1], *rest])


def _scatter_elements(x: Given, node: Node) -> Tensor:
    axis = node.get("axis", 0)
    places = _from_start(x[1], x[0].shape[axis])
    reduction = _reduction(node)
    if reduction is None:
        return torch.scatter(x[0], axis, places, x[2])
    return torch.scatter_reduce(x[0], axis, places, x[2], reduction)


def _scatter_nd(x: Given, node: Node) -> Tensor:
    data, places, new = x
    depth = places.shape[-1]
    rest = math.prod(data.shape[depth:])
    table = data.reshape(math.prod(data.shape[:depth]), rest)
    rows = _rows(places, list(data.shape[:depth])).reshape(-1)
    new = new.reshape(rows.numel(), rest)
    reduction = _reduction(node)
    if reduction is None:
        put = torch.index_put(table, (rows,), new)
    else:
        put = torch.scatter_reduce(table, 0, rows.unsqueeze(1).expand(-1, rest), new, reduction)
    return put.reshape(data.shape)


def _reduction(node: Node) -> str | None:
    name = node.get("reduction", "none")
    if name != "none" and name not in _REDUCTIONS:
        raise node.refused(f"with reduction={name}")
    return _REDUCTIONS.get(name)


def _top_k(x: Given, node: Node) -> tuple[Tensor, Tensor]:
    """Of equal numbers the first comes first, which torch's own top k does not promise."""
    axis = node.get("axis", -1)
    values, places = torch.sort(x[0], stable=True, dim=axis, descending=bool(node.get("largest", 1)))
    count = node.number(1)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def _extreme_place(largest: bool) -> Operator:
    """Where the largest or smallest number is: the first of equal ones, or the last."""

    def run(x: Given, node: Node) -> Tensor:
        axis = node.get("axis", 0)
        last = bool(node.get("select_last_index", 0))
        search = torch.argmax if largest else torch.argmin
        found = search(x[0].flip(axis) if last else x[0], dim=axis, keepdim=bool(node.get("keepdims", 1)))
        return x[0].shape[axis] - 1 - found if last else found

    return operator(run, "axis", "keepdims", "select_last_index")


def _one_hot(x: Given, node: Node) -> Tensor:
    depth = int(node.number(1))
    places = _from_start(x[0], depth)
    axis = node.get("axis", -1) % (places.ndim + 1)
    numbers = torch.arange(depth, device=places.device).reshape([depth] + [1] * (places.ndim - axis))
    return torch.where(places.unsqueeze(axis) == numbers, x[2][1], x[2][0])


def _not_zero(x: Given, node: Node) -> Tensor:
    """Where a constant is not zero; of anything else the result would have no size before the graph runs."""
    if x[0].is_meta:
        raise node.refused(f"of {node.inputs[0]!r} that is known only when the graph runs")
    return torch.nonzero(x[0]).T


def _triangle(x: Given, node: Node) -> Tensor:
    keep = torch.triu if node.get("upper", 1) else torch.tril
    return keep(x[0], node.number(1, 0))


OPERATORS: dict[str, Operator] = {
    "ArgMax": _extreme_place(largest=True),
    "ArgMin": _extreme_place(largest=False),
    "Gather": operator(_gather, "axis"),
    "GatherElements": operator(_gather_elements, "axis"),
    "GatherND": operator(_gather_nd, "batch_dims"),
    "NonZero": operator(_not_zero),
    "OneHot": operator(_one_hot, "axis"),
    "ScatterElements": operator(_scatter_elements, "axis", "reduction"),
    "ScatterND": operator(_scatter_nd, "reduction"),
    "TopK": operator(_top_k, "axis", "largest", "sorted"),
    "Trilu": operator(_triangle, "upper"),
}
