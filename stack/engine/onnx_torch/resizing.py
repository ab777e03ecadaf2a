"""Resize: every number of the result is a sum of few numbers of the input, along one axis after another.

Where they lie and what each counts follows from sizes alone, and is computed in Python: torch's own interpolation has
fewer modes. Places are exact here. ONNX Runtime rounds them to float32 on the way, so that with mode=nearest it takes
another neighbour now and then where two are equally near.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from torch import Tensor

from stack.engine.onnx_torch.node import Given, Node, Operator, operator, whole_numbers

_ROUNDS: dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda place: math.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: math.floor(place + 0.5),
}
_HALF = Fraction(1, 2)
_PLACES: dict[str, Callable[[int, int, int, Fraction], Fraction]] = {
    "half_pixel": lambda index, size, wanted, step: (index + _HALF) * step - _HALF,
    "pytorch_half_pixel": lambda index, size, wanted, step: (index + _HALF) * step - _HALF if wanted > 1 else _HALF * 0,
    "asymmetric": lambda index, size, wanted, step: index * step,
    "align_corners": lambda index, size, wanted, step: Fraction(index * (size - 1), max(wanted - 1, 1)),
}
"""Of a number of the result: the number, the sizes of input and result, and the distance of two numbers."""
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


def _resize(x: Given, node: Node) -> Tensor:
    if node.opset < 11:
        raise node.refused(f"of opset {node.opset}")
    mode = node.get("mode", "nearest")
    if mode not in _TAPS:
        raise node.refused(f"with mode={mode}")
    if mode != "nearest" and whole_numbers(x[0]):
        raise node.refused(f"of integers with mode={mode}")
    where = node.get("coordinate_transformation_mode", "half_pixel")
    if where not in _PLACES:
        raise node.refused(f"with coordinate_transformation_mode={where}")
    result = x[0]
    for index, axis in enumerate(node.get("axes", range(x[0].ndim))):
        size = x[0].shape[axis]
        wanted, step = _target(node, index, size)
        if step != 1:
            result = _sum_neighbours(result, axis, _places(where, size, wanted, step), node)
    return result


def _target(node: Node, index: int, size: int) -> tuple[int, Fraction]:
    """The size that an axis gets, and how far its numbers are from each other in the input: from sizes, or from
    factors, which are float32.
    """
    sizes = node.numbers(3)
    if sizes:
        return sizes[index], Fraction(size, sizes[index])
    factor = np.float32((node.numbers(2) or [])[index])
    wanted = math.floor(np.float32(size) * factor)
    if np.float32(wanted / size) == factor:
        return wanted, Fraction(size, wanted)
    return wanted, 1 / Fraction(float(factor))


@cache
def _places(where: str, size: int, wanted: int, step: Fraction) -> tuple[float, ...]:
    """Where each number of the result lies between those of the input."""
    return tuple(float(_PLACES[where](index, size, wanted, step)) for index in range(wanted))


def _sum_neighbours(x: Tensor, axis: int, places: tuple[float, ...], node: Node) -> Tensor:
    """Neighbours beyond an end are those at the end."""
    size = x.shape[axis]

    def select(indices: list[int]) -> Tensor:
        inside = [min(max(index, 0), size - 1) for index in indices]
        return torch.index_select(x, axis, torch.tensor(inside, device=x.device))

    mode = node.get("mode", "nearest")
    if mode == "nearest":
        nearest = node.get("nearest_mode", "round_prefer_floor")
        if nearest not in _ROUNDS:
            raise node.refused(f"with nearest_mode={nearest}")
        return select([_ROUNDS[nearest](place) for place in places])
    taps = _TAPS[mode]
    firsts = [math.floor(place) - taps // 2 + 1 for place in places]
    row = [1] * x.ndim
    row[axis] = len(places)
    result = torch.zeros((), dtype=x.dtype, device=x.device)
    for tap in range(taps):
        shares = [_share(place - first - tap, node) for place, first in zip(places, firsts, strict=True)]
        counts = torch.tensor(shares, dtype=x.dtype, device=x.device).reshape(row)
        result = result + select([first + tap for first in firsts]) * counts
    return result


def _share(distance: float, node: Node) -> float:
    """What a neighbour at this distance counts."""
    away = abs(distance)
    if node.get("mode") == "linear":
        return 1 - away
    bend = node.get("cubic_coeff_a", -0.75)
    if away <= 1:
        return float(((bend + 2) * away - (bend + 3)) * away * away + 1)
    return float(((bend * away - 5 * bend) * away + 8 * bend) * away - 4 * bend)


OPERATORS: dict[str, Operator] = {
    "Resize": operator(
        _resize,
        "axes",
        "coordinate_transformation_mode",
        "cubic_coeff_a",
        "extrapolation_value",
        "mode",
        "nearest_mode",
        antialias=0,
        exclude_outside=0,
        keep_aspect_ratio_policy="stretch",
    )
}
