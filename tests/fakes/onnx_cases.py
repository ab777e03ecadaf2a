"""Nodes that are computed by ONNX Runtime and by torch: every operator and attribute that the torch backends know, with
several types and shapes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import numpy_helper

from tests.fakes.onnx_nodes import OPSET, Case, bools, case, floats, halves, held, whole

F = floats(2, 3, 4)
H = halves(2, 3, 4)
L = whole(2, 3, 4)
I = whole(2, 3, 4, dtype=np.int32)  # noqa: E741 - beside F, H, L and B
U = whole(2, 3, 4, low=0, high=250, dtype=np.uint8)
B = bools(2, 3, 4)
P = np.abs(F) + np.float32(0.1)
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 2.5], np.float32)


def elementwise() -> Iterator[Case]:
    for kind in (
        "Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
        "Mish", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Tanh",
    ):  # fmt: skip
        yield case(kind, F)
        yield case(kind, 9 * F[0, 0])
        yield case(kind, H)
    for kind in ("Log", "Reciprocal", "Sqrt", "Tan"):
        yield case(kind, P)
        yield case(kind, P.astype(np.float16))
    for kind in ("Abs", "Neg", "Sign", "Relu"):
        yield case(kind, L) if kind != "Relu" else case(kind, I)
    yield case("Round", np.arange(-3.5, 4, 0.5, dtype=np.float32))
    yield case("Sign", U)
    yield case("Identity", B)
    yield case("Identity", U)
    yield case("Not", B)
    yield case("IsNaN", ODD)
    yield case("IsNaN", ODD.astype(np.float16))
    yield case("IsInf", ODD)
    yield case("IsInf", ODD, detect_negative=0)
    yield case("IsInf", ODD, detect_positive=0)
    yield case("IsInf", ODD, detect_positive=0, detect_negative=0)
    yield case("IsInf", ODD.astype(np.float16), opset=20)
    yield case("Elu", F, alpha=0.3)
    yield case("LeakyRelu", F, alpha=0.3)
    yield case("HardSigmoid", 4 * F, alpha=0.3, beta=0.4)
    yield case("Gelu", F, opset=20)
    yield case("Gelu", F, approximate="tanh", opset=20)
    yield case("PRelu", F, held(floats(3, 1)))
    yield case("PRelu", F, floats(2, 3, 4))


def arithmetic() -> Iterator[Case]:
    for kind in ("Add", "Sub", "Mul", "Div"):
        for one, other in ((F, floats(4)), (H, halves(3, 1)), (F, held(0.3)), (L, whole(3, 1, low=1))):
            yield case(kind, one, other)
        yield case(kind, I, whole(4, low=-9, high=-1, dtype=np.int32))
        yield case(kind, F, floats(5, 1, 1, 1))
    yield case("Div", F, np.zeros(4, np.float32))
    for kind in ("Max", "Min"):
        yield case(kind, F, floats(4), floats(3, 1))
        yield case(kind, F)
        yield case(kind, H, halves(2, 1, 4))
        yield case(kind, L, whole(4))
        yield case(kind, I, held(2, np.int32))
        yield case(kind, U, held(99, np.uint8))
    yield case("Sum", F, floats(4), floats(3, 1))
    yield case("Sum", F)
    for one, other in ((L, whole(4, low=1)), (L, whole(4, low=-9, high=-1)), (I, whole(4, low=1, dtype=np.int32))):
        yield case("Mod", one, other)
        yield case("Mod", one, other, fmod=1)
    yield case("Mod", U, whole(4, low=1, dtype=np.uint8))
    yield case("Mod", F, floats(4), fmod=1)
    yield case("Mod", H, held(0.7, np.float16), fmod=1)
    for exponent in (held(2.0), held(-0.5), floats(4), held(3), held(2, np.int32)):
        yield case("Pow", P, exponent)
    yield case("Pow", F, held(2.0))
    yield case("Pow", P.astype(np.float16), held(2.0, np.float16))
    yield case("Pow", P.astype(np.float16), held(2.0))
    yield case("Pow", whole(2, 3), held(3))
    yield case("Pow", whole(2, 3, dtype=np.int32), held(2))
    yield case("Pow", whole(2, 3, low=1, dtype=np.int32), held(2.5))


def logic() -> Iterator[Case]:
    for kind in ("And", "Or", "Xor"):
        yield case(kind, B, bools(3, 1))
    for kind in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        yield case(kind, L, whole(4))
        yield case(kind, U, whole(4, low=0, dtype=np.uint8))
        yield case(kind, I, whole(3, 1, dtype=np.int32))
    yield case("BitwiseNot", I)
    yield case("BitwiseNot", U)
    for kind in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        yield case(kind, np.round(F), np.round(floats(4)))
        yield case(kind, H, held(0.0, np.float16))
        yield case(kind, L, held(3))
        yield case(kind, I, whole(3, 1, dtype=np.int32))
        yield case(kind, ODD, ODD[::-1].copy())
    yield case("Equal", B, bools(4))


def choices() -> Iterator[Case]:
    yield case("Where", B, F, floats(4))
    yield case("Where", B, F, held(float("-inf")))
    yield case("Where", bools(3, 1), L, held(0))
    yield case("Where", B, U, whole(4, low=0, dtype=np.uint8))
    yield case("Where", B, I, held(0, np.int32))
    yield case("Where", B, H, held(0, np.float16))
    yield case("Where", B, bools(4), bools(3, 1))
    yield case("Clip", F, held(-0.5), held(0.5))
    yield case("Clip", F, None, held(0.5))
    yield case("Clip", F, held(-0.5))
    yield case("Clip", F)
    yield case("Clip", F, held(0.5), held(-0.5))
    yield case("Clip", L, held(-3), held(7))
    yield case("Clip", I, held(-3, np.int32))
    yield case("Clip", U, held(9, np.uint8), held(99, np.uint8))
    yield case("Clip", H, held(-0.5, np.float16))
    yield case("Clip", ODD, held(-1.0), held(1.0))
    yield case("Clip", F, min=-0.5, max=0.5, opset=10)


def casts() -> Iterator[Case]:
    types = {1: np.float32, 2: np.uint8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}
    start = np.array([0.0, 1.0, 2.5, 3.5, 100.7], np.float32)
    for dtype in types.values():
        for number, target in types.items():
            yield case("Cast", start.astype(dtype), to=number)
            if dtype is np.float32:
                yield case("CastLike", start, held([1], target), opset=19, saturate=1)
    yield case("Cast", np.array([-0.9, -1.5, -2.5, 7.9], np.float32), to=7)
    yield case("Cast", np.array([-0.9, -1.5, 0.0, np.nan, np.inf], np.float32), to=9)
    yield case("Cast", np.array([1e-8, 65504, 1e6], np.float32), to=10)
    yield case("Cast", np.array([-3, 300, 2**40], np.int64), to=6)
    yield case("Cast", F, to=10, opset=20, saturate=1)


def shapes() -> Iterator[Case]:
    for x in (F, H, L, I, U, B):
        yield case("Reshape", x, held([4, -1]))
        yield case("Transpose", x)
        yield case("Concat", x, x[:, :2], axis=1)
        yield case("Expand", x, held([5, 1, 1, 4]))
        yield case("Tile", x, held([2, 1, 3]))
        yield case("Slice", x, held([1]), held([4]), held([-1]))
        yield case("Unsqueeze", x, held([0, -1]))
        yield case("Squeeze", x[:1], held([0]))
        yield case("Split", x, held([1, 3]), axis=-1, outputs=2)
        yield case("Flatten", x)
        yield case("Shape", x)
        yield case("Size", x)
    yield case("Reshape", F, held([0, -1]))
    yield case("Reshape", F, held([0, 0, 2, 2]))
    yield case("Reshape", F[:, :0], held([0, 7]), allowzero=1)
    yield case("Flatten", F, axis=0)
    yield case("Flatten", F, axis=3)
    yield case("Flatten", F, axis=-1)
    yield case("Transpose", F, perm=[1, 2, 0])
    yield case("Concat", F, axis=-1)
    yield case("Concat", F, F[:1], H.astype(np.float32), axis=0)
    yield case("Expand", floats(3, 1), held([2, 1, 4]))
    yield case("Expand", F, held([3, 1]))
    yield case("Expand", np.float32([np.inf, np.nan]), held([2, 2]))
    yield case("Squeeze", floats(1, 3, 1, 2))
    yield case("Squeeze", floats(1, 3, 1, 2), held([-2, 0]))
    yield case("Squeeze", floats(1, 3, 1, 2), axes=[0], opset=12)
    yield case("Unsqueeze", F, held([3, 1]))
    yield case("Unsqueeze", F, axes=[0, 2], opset=12)
    yield case("Unsqueeze", np.array(2.5, np.float32), held([0]))
    yield case("Split", F, axis=2, num_outputs=2, outputs=2)
    yield case("Split", floats(7, 2), num_outputs=3, outputs=3)
    yield case("Split", floats(6, 2), outputs=3, opset=13)
    yield case("Split", F, axis=1, split=[2, 1], outputs=2, opset=12)
    yield case("Split", F, held([0, 3]), axis=1, outputs=2)
    alone = np.array(2.5, np.float32)
    yield case("Transpose", alone)
    yield case("Reshape", floats(1, 1), held([], np.int64))
    yield case("Reshape", alone, held([1, -1]))
    yield case("Expand", alone, held([], np.int64))
    yield case("Expand", alone, held([2, 3]))
    yield case("Squeeze", floats(1))
    yield case("Shape", alone)
    yield case("Size", alone)
    yield case("Shape", F, start=1)
    yield case("Shape", F, end=-1)
    yield case("Shape", F, start=-2, end=3)


def slices() -> Iterator[Case]:
    long = np.arange(10, dtype=np.float32)
    most = 2**63 - 1
    for start, end, step in (
        (0, 5, 1), (-3, most, 1), (2, -1, 3), (8, 2, -1), (-1, -most, -1), (-1, -most, -3), (100, -100, -2),
        (5, 5, 1), (-100, 4, 1), (0, 5, -1), (most, -most - 1, -1), (7, 0, -4),
    ):  # fmt: skip
        yield case("Slice", long, held([start]), held([end]), held([0]), held([step]))
    yield case("Slice", F, held([0, 1]), held([1, most]))
    yield case("Slice", F, held([1, -1]), held([most, -9]), held([1, 2]), held([1, -1]))
    yield case("Slice", F, held([1], np.int32), held([3], np.int32), held([2], np.int32))


def pads() -> Iterator[Case]:
    for mode in ("constant", "reflect", "edge"):
        for x in (F, L, I):
            yield case("Pad", x, held([0, 1, 2, 0, 0, 1]), mode=mode)
    yield case("Pad", F, held([0, 0, 1, 0, 0, 2]), held(7.5))
    yield case("Pad", F, held([0, -1, 1, 0, 0, -2]))
    yield case("Pad", L, held([1, 1, 0, 0, 0, 0]), held(3))
    yield case("Pad", B, held([1, 1, 0, 0, 0, 0]), held(True), mode="constant")
    yield case("Pad", F, held([2, 1]), None, held([-1]))
    yield case("Pad", F, held([1, 2, 1, 0]), None, held([2, 1]), mode="reflect")
    yield case("Pad", F, held([1, 0, 3, 2, 0, 4]), mode="wrap", opset=19)
    yield case("Pad", floats(1, 2, 3, 4, 5), held([0, 0, 2, 1, 3, 0, 0, 1, 0, 4]), mode="reflect")
    yield case("Pad", H, held([0, 2, 0, 0, 5, 0]), mode="edge")


def fills() -> Iterator[Case]:
    yield case("ConstantOfShape", held([2, 3]))
    yield case("ConstantOfShape", held([2, 3]), value=numpy_helper.from_array(np.array([7], np.int64)))
    yield case("ConstantOfShape", held([4]), value=numpy_helper.from_array(np.array([True])))
    yield case("ConstantOfShape", held([], np.int64), value=numpy_helper.from_array(np.array([2.5], np.float32)))
    for start, limit, delta, dtype in (
        (0, 10, 3, np.int64), (10, 0, -4, np.int64), (5, 1, 1, np.int64), (1, 9, 2, np.int32),
        (0.0, 1.0, 0.1, np.float32), (0.0, 50.0, 0.3, np.float32), (1.0, -1.0, -0.4, np.float32),
    ):  # fmt: skip
        yield case("Range", held(start, dtype), held(limit, dtype), held(delta, dtype))


def picks() -> Iterator[Case]:
    some = np.array([[0, 2], [-1, 1]])
    for x in (F, H, L, I, U, B):
        yield case("Gather", x, some, axis=1)
        yield case("GatherElements", x, whole(2, 3, 4, low=-4, high=4), axis=2)
        yield case("GatherND", x, np.array([[0, 2], [1, -1]]))
        yield case("ScatterND", x, np.array([[1, 2], [0, -2]]), x[0, :2])
        yield case("ScatterElements", x, np.array([[[0, -1]], [[2, 1]]]), x[:, :1, :2], axis=1)
    yield case("Gather", F, held(some, np.int32), axis=2)
    yield case("Gather", F, held(-1), axis=-1)
    yield case("Gather", F, np.array(2, np.int32), axis=2)
    yield case("Gather", floats(7), np.array([[3, -7]]))
    yield case("Gather", floats(7), held(-1))
    yield case("Gather", np.array([3, 5]), np.array(1))
    yield case("GatherND", floats(3, 4), np.array([-1, 2]))
    yield case("ScatterND", floats(3, 4), np.array([-1, 2]), np.array(7, np.float32))
    yield case("GatherElements", F, whole(1, 2, 4, low=-2, high=2, dtype=np.int32))
    yield case("GatherElements", F, whole(2, 3, 9, low=-4, high=4), axis=-1)
    yield case("GatherND", F, np.array([[[1]], [[-1]]]))
    yield case("GatherND", F, np.array([[[1, 0, 3]], [[-1, -1, -1]]]))
    yield case("GatherND", F, np.array([[1], [-1]]), batch_dims=1)
    yield case("GatherND", F, whole(2, 3, 5, 1, low=-4, high=4), batch_dims=2)
    ties = np.array([[3, 1, 3, 2, 3], [0, 0, 0, 0, 1]])
    for x in (ties, ties.astype(np.float32), ties.astype(np.int32), ties.astype(np.float16)):
        for largest in (1, 0):
            yield case("TopK", x, held([3]), largest=largest, outputs=2)
    yield case("TopK", F, held([2]), axis=1, outputs=2)
    yield case("TopK", F, held([4]), axis=-1, sorted=1, outputs=2)
    for kind in ("ArgMax", "ArgMin"):
        for x in (F, ties, ties.astype(np.float32), ties.astype(np.int32), ties.astype(np.float16)):
            yield case(kind, x)
            yield case(kind, x, axis=-1, keepdims=0)
            yield case(kind, x, axis=1, select_last_index=1)
    numbers = np.array([[1, -1], [0, 7]])
    yield case("OneHot", numbers, held(4), held([0.0, 1.0]))
    yield case("OneHot", numbers, held([4]), held([2, 9]), axis=0)
    yield case("OneHot", numbers.astype(np.int32), held(3), held([2.5, -1.0]), axis=-2)
    yield case("OneHot", numbers, held(3), floats(2), axis=1)
    for x in (F, L, I, B):
        yield case("NonZero", held(x * (x > 0)))
    for x in (F, L, B, H):
        yield case("Trilu", x)
        yield case("Trilu", x, held(1))
    yield case("Trilu", F, held(-1), upper=0)
    yield case("Trilu", F, upper=0)
    yield case("Trilu", F, held(0), upper=1)


def scatters() -> Iterator[Case]:
    for reduction in ("none", "add", "mul", "min", "max"):
        again = np.array([[1], [-1], [1]]) if reduction != "none" else np.array([[1], [0]])
        for x in (F, L, I):
            yield case("ScatterND", x, again, whole(*again.shape[:1], 3, 4).astype(x.dtype), reduction=reduction)
        yield case("ScatterND", F, np.array([[0, 2, 3], [1, -1, -1]]), floats(2), reduction=reduction)
        yield case("ScatterND", F, np.array([[[0, 1]], [[1, 1]]]), floats(2, 1, 4), reduction=reduction)
        columns = np.array([[1, -1, 1], [0, 0, 0]]) if reduction != "none" else np.array([[1, -1, 0], [0, 2, 3]])
        for x in (F, L):
            new = whole(2, 3, low=2).astype(x.dtype)
            yield case("ScatterElements", x[0], columns[:1], new[:1], axis=-1, reduction=reduction)
            yield case("ScatterElements", x[0], columns, new, axis=1, reduction=reduction)
    yield case("ScatterND", F, np.array([[0]]), floats(1, 3, 4), opset=13)
    yield case("ScatterElements", F[0], np.array([[0, 1, 2, 0]]), floats(1, 4), opset=13)


def reductions() -> Iterator[Case]:
    kinds = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    for kind in (f"Reduce{each}" for each in kinds):
        latest = 20 if kind in ("ReduceMax", "ReduceMin") else OPSET
        for x in (F, H):
            yield case(kind, x, held([1]), opset=latest)
        yield case(kind, F, held([-1, 0]), keepdims=0)
        yield case(kind, F)
        yield case(kind, F, keepdims=0)
        yield case(kind, F, axes=[0, -1], keepdims=1, opset=12)
        yield case(kind, F[:1, :1, 0], held([1]), keepdims=0)
        if kind not in ("ReduceL2", "ReduceLogSumExp", "ReduceMean"):
            yield case(kind, I, held([1]))
    for kind in ("Max", "Min", "Prod", "Sum"):
        yield case(f"Reduce{kind}", L, held([2, 0]))
        yield case(f"Reduce{kind}", I, keepdims=0)
    for kind in ("Max", "Mean", "Min", "Prod", "Sum"):
        yield case(f"Reduce{kind}", F, noop_with_empty_axes=1)
        yield case(f"Reduce{kind}", F, held([], np.int64), noop_with_empty_axes=0)
        yield case(f"Reduce{kind}", F, held([2]), noop_with_empty_axes=1)
    yield case("ReduceSum", np.array(2.5, np.float32))
    yield case("ReduceMax", floats(5), held([0]), keepdims=0)
    for kind in ("ReduceMax", "ReduceMin"):
        yield case(kind, U, held([2]))
        yield case(kind, B, held([2]), opset=20)


def along() -> Iterator[Case]:
    for x in (F, L, I):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                yield case("CumSum", x, held(1), exclusive=exclusive, reverse=reverse)
    yield case("CumSum", F, held([-1]))
    yield case("CumSum", F, held(0, np.int32), exclusive=1)
    for kind in ("Softmax", "LogSoftmax"):
        for x in (F, H):
            yield case(kind, x)
            yield case(kind, x, axis=1)
        yield case(kind, F, opset=12)
        yield case(kind, F, axis=-1, opset=12)
        yield case(kind, F, axis=2, opset=11)
        yield case(kind, F, axis=0, opset=11)
    yield case("Softmax", np.where(B, F, -np.inf).astype(np.float32) + np.float32([0, 0, 0, np.nan]))


def products() -> Iterator[Case]:
    yield case("MatMul", F, floats(4, 5))
    yield case("MatMul", F, held(floats(2, 4, 5)))
    yield case("MatMul", floats(5, 1, 3, 4), floats(2, 4, 3))
    yield case("MatMul", F, floats(4))
    yield case("MatMul", floats(3), F)
    yield case("MatMul", floats(4), floats(4))
    yield case("MatMul", H, halves(4, 5))
    yield case("Gemm", floats(3, 4), floats(4, 5))
    yield case("Gemm", floats(4, 3), floats(5, 4), floats(5), transA=1, transB=1, alpha=0.5, beta=2.0)
    yield case("Gemm", floats(3, 4), floats(4, 5), floats(3, 1))
    yield case("Gemm", halves(3, 4), halves(4, 5), halves(1))
    yield case("Einsum", floats(2, 3, 4), floats(2, 4, 5), equation="bij,bjk->bik")
    yield case("Einsum", floats(2, 3, 4), floats(2, 4, 5), equation="bij, bjk")
    yield case("Einsum", floats(2, 3, 4, 5), floats(2, 6, 4, 5), equation="bqhd,bkhd->bhqk")
    yield case("Einsum", floats(2, 3, 4), equation="...ij->...ji")
    yield case("Einsum", floats(3, 3), equation="ii")
    yield case("Einsum", floats(3), floats(4), equation="i,j->ij")
    yield case("Einsum", halves(2, 3), halves(3, 4), equation="ab,bc->ac")


def windows() -> Iterator[Case]:
    for axes in (1, 2, 3):
        x = floats(2, 4, *(9, 8, 7)[:axes])
        kernel = [3] * axes
        weight = held(floats(6, 4, *kernel))
        yield case("Conv", x, weight)
        yield case("Conv", x, weight, held(floats(6)), pads=[1] * 2 * axes, strides=[2] * axes)
        yield case("Conv", x, weight, pads=[1] * axes + [2] * axes, dilations=[2] * axes, kernel_shape=kernel)
        yield case("Conv", x, floats(4, 2, *kernel), floats(4), group=2)
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"):
            yield case("Conv", x, held(floats(6, 4, *[4] * axes)), auto_pad=auto, strides=[2] * axes)
        back = held(floats(4, 3, *kernel))
        yield case("ConvTranspose", x, back)
        yield case("ConvTranspose", x, back, held(floats(3)), strides=[2] * axes, pads=[1] * 2 * axes)
        yield case("ConvTranspose", x, back, strides=[2] * axes, output_padding=[1] * axes, pads=[1] * 2 * axes)
        uneven = [1] * axes + [0] * axes
        yield case("ConvTranspose", x, back, strides=[2] * axes, pads=uneven, output_padding=[1] * axes)
        yield case("ConvTranspose", x, back, dilations=[2] * axes, group=2, kernel_shape=kernel)
        yield case("MaxPool", x, kernel_shape=kernel)
        yield case("MaxPool", x, kernel_shape=kernel, strides=[2] * axes, pads=[1] * 2 * axes)
        yield case("MaxPool", x, kernel_shape=kernel, strides=[2] * axes, pads=[0] * axes + [2] * axes)
        yield case("MaxPool", x, kernel_shape=kernel, dilations=[2] * axes, storage_order=0)
        yield case("MaxPool", x, kernel_shape=[2] * axes, strides=[2] * axes, ceil_mode=1)
        yield case("MaxPool", x, kernel_shape=kernel, strides=[2] * axes, ceil_mode=1, pads=[1] * 2 * axes)
        yield case("MaxPool", x, kernel_shape=kernel, strides=[2] * axes, auto_pad="SAME_UPPER")
        yield case("AveragePool", x, kernel_shape=kernel)
        yield case("AveragePool", x, kernel_shape=kernel, dilations=[1] * axes, opset=19)
        yield case("AveragePool", x, kernel_shape=[2] * axes, strides=[2] * axes, ceil_mode=1)
        for counted in (0, 1):
            padded = {"pads": [1] * 2 * axes, "count_include_pad": counted}
            yield case("AveragePool", x, kernel_shape=kernel, strides=[2] * axes, **padded)
            yield case("AveragePool", x, kernel_shape=kernel, strides=[3] * axes, ceil_mode=1, **padded)
        yield case("AveragePool", x, kernel_shape=kernel, auto_pad="SAME_LOWER")
        yield case("GlobalAveragePool", x)
        yield case("GlobalMaxPool", x)
    yield case("Conv", halves(1, 2, 5, 5), held(halves(3, 2, 3, 3)))
    yield case("Conv", floats(1, 4, 6, 6), held(floats(4, 1, 3, 3)), group=4, pads=[0, 1, 2, 1], dilations=[2, 1])


def sizes() -> Iterator[Case]:
    picture = floats(1, 2, 5, 6)
    linear = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for wanted in ([1, 2, 10, 12], [1, 2, 3, 4], [1, 2, 7, 9], [1, 2, 1, 6]):
        for where in linear:
            at = {"coordinate_transformation_mode": where}
            yield case("Resize", picture, None, None, held(wanted), mode="linear", **at)
            yield case("Resize", picture, None, None, held(wanted), mode="cubic", **at)
            for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
                yield case("Resize", picture, None, None, held(wanted), mode="nearest", nearest_mode=nearest, **at)
    yield case("Resize", picture, None, held([1.0, 1.0, 2.0, 2.0]))
    yield case("Resize", picture, None, held([1.0, 1.0, 0.6, 1.7]), mode="linear")
    yield case("Resize", picture, None, held([1.0, 1.0, 2.0, 2.0]), mode="cubic", cubic_coeff_a=-0.5)
    yield case("Resize", picture, held([], np.float32), held([1.0, 1.0, 2.0, 2.0]), mode="linear", opset=11)
    yield case("Resize", picture, None, None, held([7, 9]), mode="linear", axes=[2, 3], antialias=0, exclude_outside=0)
    yield case("Resize", picture, None, held([2.0]), mode="linear", axes=[-1], keep_aspect_ratio_policy="stretch")
    yield case("Resize", floats(1, 2, 5), None, held([1.0, 1.0, 2.0]), mode="linear", extrapolation_value=0.0)
    yield case("Resize", U, None, held([1.0, 2.0, 2.0]))


def norms() -> Iterator[Case]:
    for epsilon in (1e-5, 1e-2):
        yield case("LayerNormalization", F, floats(4), floats(4), epsilon=epsilon)
        yield case("InstanceNormalization", floats(2, 3, 5, 4), floats(3), floats(3), epsilon=epsilon)
        yield case("BatchNormalization", F, floats(3), floats(3), floats(3), P[0, 0, :3], epsilon=epsilon)
        for opset, width in ((18, 2), (21, 6)):
            weights = (held(floats(width)), held(floats(width)))
            given = floats(2, 6, 5)
            yield case("GroupNormalization", given, *weights, num_groups=2, epsilon=epsilon, opset=opset)
    yield case("LayerNormalization", F, floats(4))
    yield case("LayerNormalization", F, floats(3, 4), floats(3, 4), axis=1, stash_type=1)
    yield case("LayerNormalization", F, floats(1, 4), held(floats(4)), axis=-2)
    yield case("LayerNormalization", H, halves(4), halves(4))
    yield case("InstanceNormalization", floats(2, 3, 7), floats(3), floats(3))
    yield case("GroupNormalization", floats(1, 4, 3, 3), floats(4), floats(4), num_groups=4, opset=21, stash_type=1)
    yield case("BatchNormalization", floats(2, 3, 4, 5), *(floats(3) for _ in range(3)), P[0, 0, :3], momentum=0.8)
    yield case("BatchNormalization", F, floats(3), floats(3), floats(3), P[0, 1, :3], training_mode=0, opset=15)
    yield case("RMSNormalization", F, floats(4), opset=23)
    yield case("RMSNormalization", F, floats(3, 4), axis=1, epsilon=1e-2, stash_type=1, opset=23)
    yield case("RMSNormalization", H, halves(4), opset=23)


def recurrences() -> Iterator[Case]:
    steps = floats(6, 2, 8)
    for kind, gates, outputs in (("LSTM", 4, 3), ("GRU", 3, 2)):
        weights = (held(floats(1, gates * 5, 8)), held(floats(1, gates * 5, 5)))
        bias = held(floats(1, 2 * gates * 5))
        states = [floats(1, 2, 5) for _ in range(outputs - 1)]
        yield case(kind, steps, *weights, hidden_size=5, outputs=outputs)
        yield case(kind, steps, *weights, bias, hidden_size=5, outputs=outputs)
        yield case(kind, steps, *weights, bias, None, *states, hidden_size=5, outputs=outputs)
        usual = ["Sigmoid", "Tanh", "Tanh"][:outputs]
        yield case(kind, steps, *weights, bias, hidden_size=5, activations=usual, direction="forward", layout=0)
    gru = (steps, held(floats(1, 15, 8)), held(floats(1, 15, 5)), held(floats(1, 30)))
    yield case("GRU", *gru, None, floats(1, 2, 5), hidden_size=5, linear_before_reset=1, outputs=2)
    lstm = (steps, held(floats(1, 20, 8)), held(floats(1, 20, 5)), held(floats(1, 40)))
    yield case("LSTM", *lstm, hidden_size=5, input_forget=0)


CASES = [
    *elementwise(), *arithmetic(), *logic(), *choices(), *casts(), *shapes(), *slices(), *pads(), *fills(), *picks(),
    *scatters(), *reductions(), *along(), *products(), *windows(), *sizes(), *norms(), *recurrences(),
]  # fmt: skip
"""Each is computed by ONNX Runtime and by torch."""
