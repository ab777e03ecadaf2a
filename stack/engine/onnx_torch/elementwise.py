"""Operators that compute each number by itself: arithmetic, comparisons, logic, casts, activations."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from stack.engine.onnx_torch.node import TYPES, Given, Node, Operator, operator, optional, whole_numbers


def _unary(compute: Callable[[Tensor], Tensor]) -> Operator:
    return operator(lambda x, node: compute(x[0]))


def _binary(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return operator(lambda x, node: compute(x[0], x[1]))


def _of_all(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Of any number of inputs, one is enough."""
    return operator(lambda x, node: reduce(compute, x))


def _divide(x: Given, node: Node) -> Tensor:
    """Integers are cut off towards zero."""
    return torch.div(x[0], x[1], rounding_mode="trunc" if whole_numbers(x[0]) else None)


def _modulo(x: Given, node: Node) -> Tensor:
    """The sign of the divisor, or with `fmod` that of the dividend; floats have only the second."""
    if node.get("fmod", 0):
        return torch.fmod(x[0], x[1])
    if not whole_numbers(x[0]):
        raise node.refused("of floats with fmod=0")
    return torch.remainder(x[0], x[1])


def _power(x: Given, node: Node) -> Tensor:
    """In the type of the base, also where the exponent has another one."""
    base, exponent = x
    if whole_numbers(base) and not whole_numbers(exponent):
        return torch.pow(base.double(), exponent.double()).to(base.dtype)
    kind = torch.promote_types(base.dtype, exponent.dtype)
    return torch.pow(base.to(kind), exponent.to(kind)).to(base.dtype)


def _cast(x: Given, node: Node) -> Tensor:
    if node.get("to") not in TYPES:
        raise node.refused(f"to type {node.get('to')}")
    return x[0].to(TYPES[node.get("to")])


def _clip(x: Given, node: Node) -> Tensor:
    """Limits are attributes until opset 10 and inputs after."""
    low = optional(x, 1) if node.has(1) else node.get("min")
    high = optional(x, 2) if node.has(2) else node.get("max")
    return x[0] if low is None and high is None else torch.clamp(x[0], low, high)


def _is_infinite(x: Given, node: Node) -> Tensor:
    found = torch.zeros_like(x[0], dtype=torch.bool)
    if node.get("detect_positive", 1):
        found = found | torch.isposinf(x[0])
    if node.get("detect_negative", 1):
        found = found | torch.isneginf(x[0])
    return found


def _gelu(x: Given, node: Node) -> Tensor:
    return functional.gelu(x[0], approximate=node.get("approximate", "none"))


def _hard_sigmoid(x: Given, node: Node) -> Tensor:
    return torch.clamp(node.get("alpha", 0.2) * x[0] + node.get("beta", 0.5), 0.0, 1.0)


def _elu(x: Given, node: Node) -> Tensor:
    return functional.elu(x[0], node.get("alpha", 1.0))


def _leaky_relu(x: Given, node: Node) -> Tensor:
    return functional.leaky_relu(x[0], node.get("alpha", 0.01))


def _parametric_relu(x: Given, node: Node) -> Tensor:
    return torch.where(x[0] < 0, x[0] * x[1], x[0])


OPERATORS: dict[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "BitwiseAnd": _binary(torch.bitwise_and),
    "BitwiseNot": _unary(torch.bitwise_not),
    "BitwiseOr": _binary(torch.bitwise_or),
    "BitwiseXor": _binary(torch.bitwise_xor),
    "Cast": operator(_cast, "to", "saturate"),
    "CastLike": operator(lambda x, node: x[0].to(x[1].dtype), "saturate"),
    "Ceil": _unary(torch.ceil),
    "Clip": operator(_clip, "min", "max"),
    "Cos": _unary(torch.cos),
    "Div": operator(_divide),
    "Elu": operator(_elu, "alpha"),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gelu": operator(_gelu, "approximate"),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "HardSigmoid": operator(_hard_sigmoid, "alpha", "beta"),
    "HardSwish": _unary(functional.hardswish),
    "Identity": _unary(lambda x: x),
    "IsInf": operator(_is_infinite, "detect_positive", "detect_negative"),
    "IsNaN": _unary(torch.isnan),
    "LeakyRelu": operator(_leaky_relu, "alpha"),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "Max": _of_all(torch.maximum),
    "Min": _of_all(torch.minimum),
    "Mish": _unary(functional.mish),
    "Mod": operator(_modulo, "fmod"),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": operator(_parametric_relu),
    "Pow": operator(_power),
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softplus": _unary(functional.softplus),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _of_all(torch.add),
    "Tan": _unary(torch.tan),
    "Tanh": _unary(torch.tanh),
    "Where": operator(lambda x, node: torch.where(x[0], x[1], x[2])),
    "Xor": _binary(torch.logical_xor),
}
