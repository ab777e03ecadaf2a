"""Operators with weights or windows: products, convolutions, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stack.engine.onnx_torch.node import Given, Node, Operator, operator, optional, whole_numbers

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")


@dataclass(frozen=True)
class SlidingWindow:
    """What moves over the axes behind batch and channel: each field has a number for each of them."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]

    @classmethod
    def of(cls, node: Node, x: Tensor, kernel: Sequence[int]) -> SlidingWindow:
        """Raises IncompatibleError for a padding or a number of axes that is not known."""
        axes = x.ndim - 2
        if axes not in _CONVOLUTIONS:
            raise node.refused(f"over {axes} axes")
        strides = node.get("strides", [1] * axes)
        dilations = node.get("dilations", [1] * axes)
        pads = node.get("pads", [0] * 2 * axes)
        auto = node.get("auto_pad", "NOTSET")
        if auto == "VALID":
            pads = [0] * 2 * axes
        elif auto in ("SAME_UPPER", "SAME_LOWER"):
            spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
            pads = _same(list(x.shape[2:]), spans, strides, more_after=auto == "SAME_UPPER")
        elif auto != "NOTSET":
            raise node.refused(f"with auto_pad={auto}")
        return cls(list(kernel), strides, dilations, pads[:axes], pads[axes:])

    def even(self) -> bool:
        """Whether torch pads this itself: as much before as after, and no more than half of a window."""
        halves = all(2 * before <= size for before, size in zip(self.before, self.kernel, strict=True))
        return self.before == self.after and halves

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        """torch counts axes from the last one."""
        pairs = list(zip(self.before, self.after, strict=True))
        return functional.pad(x, [size for pair in reversed(pairs) for size in pair], value=value)


def _same(sizes: list[int], spans: list[int], strides: list[int], *, more_after: bool) -> list[int]:
    """Padding with which there are as many windows as strides, a part of one counted as one."""
    wanted = [
        max((-(-size // stride) - 1) * stride + span - size, 0)
        for size, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    less = [each // 2 for each in wanted]
    more = [each - each // 2 for each in wanted]
    return less + more if more_after else more + less


def _convolve(x: Given, node: Node) -> Tensor:
    window = SlidingWindow.of(node, x[0], x[1].shape[2:])
    alike = window.before == window.after
    given = x[0] if alike else window.pad(x[0])
    padding = window.before if alike else [0] * len(window.before)
    convolve = _CONVOLUTIONS[len(window.kernel)]
    return convolve(given, x[1], optional(x, 2), window.strides, padding, window.dilations, node.get("group", 1))


def _convolve_transposed(x: Given, node: Node) -> Tensor:
    """Without padding, which takes away of the result here: then that is cut off, which can differ at both ends."""
    window = SlidingWindow.of(node, x[0], x[1].shape[2:])
    axes = len(window.kernel)
    more = node.get("output_padding", [0] * axes)
    group = node.get("group", 1)
    alike = window.before == window.after
    padding = window.before if alike else [0] * axes
    convolve = _TRANSPOSED[axes]
    result = convolve(x[0], x[1], optional(x, 2), window.strides, padding, more, group, window.dilations)
    if alike:
        return result
    for axis in range(axes):
        size = result.shape[axis + 2] - window.before[axis] - window.after[axis]
        result = result.narrow(axis + 2, window.before[axis], size)
    return result


def _pool_max(x: Given, node: Node) -> Tensor:
    window = SlidingWindow.of(node, x[0], node.get("kernel_shape"))
    if whole_numbers(x[0]):
        raise node.refused("of integers")
    ceil = bool(node.get("ceil_mode", 0))
    if ceil and not window.even():
        raise node.refused(f"with ceil_mode=1 and pads={window.before + window.after}")
    padding = window.before if window.even() else 0
    given = x[0] if window.even() else window.pad(x[0], -math.inf)
    pool = _MAX_POOLS[len(window.kernel)]
    return pool(given, window.kernel, window.strides, padding, window.dilations, ceil_mode=ceil)


def _pool_average(x: Given, node: Node) -> Tensor:
    window = SlidingWindow.of(node, x[0], node.get("kernel_shape"))
    if not window.even():
        raise node.refused(f"with pads={window.before + window.after} and kernel_shape={window.kernel}")
    if any(dilation != 1 for dilation in window.dilations):
        raise node.refused(f"with dilations={window.dilations}")
    ceil = bool(node.get("ceil_mode", 0))
    counts_padding = bool(node.get("count_include_pad", 0))
    pool = _AVERAGE_POOLS[len(window.kernel)]
    return pool(x[0], window.kernel, window.strides, window.before, ceil, counts_padding)


def _whole(reduce: Callable[..., Tensor]) -> Operator:
    """One window over everything behind batch and channel."""
    return operator(lambda x, node: reduce(x[0], dim=list(range(2, x[0].ndim)), keepdim=True))


def _of_floats(x: Given, node: Node) -> Given:
    """CUDA multiplies no matrices of integers."""
    if any(each is not None and whole_numbers(each) for each in x):
        raise node.refused("of integers")
    return x


def _multiply(x: Given, node: Node) -> Tensor:
    left, right = _of_floats(x, node)
    return left @ right


def _gemm(x: Given, node: Node) -> Tensor:
    left, right, *_ = _of_floats(x, node)
    left = left.T if node.get("transA") else left
    right = right.T if node.get("transB") else right
    product = node.get("alpha", 1.0) * (left @ right)
    addend = optional(x, 2)
    return product if addend is None else product + node.get("beta", 1.0) * addend


def _sum_products(x: Given, node: Node) -> Tensor:
    return torch.einsum(node.get("equation").replace(" ", ""), *_of_floats(x, node))


OPERATORS: dict[str, Operator] = {
    "AveragePool": operator(_pool_average, "ceil_mode", "count_include_pad", *_WINDOW),
    "Conv": operator(_convolve, "group", *_WINDOW),
    "ConvTranspose": operator(
        _convolve_transposed,
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "pads",
        "strides",
        auto_pad="NOTSET",
    ),
    "Einsum": operator(_sum_products, "equation"),
    "Gemm": operator(_gemm, "alpha", "beta", "transA", "transB"),
    "GlobalAveragePool": _whole(torch.mean),
    "GlobalMaxPool": _whole(torch.amax),
    "MatMul": operator(_multiply),
    "MaxPool": operator(_pool_max, "ceil_mode", *_WINDOW, storage_order=0),
}
