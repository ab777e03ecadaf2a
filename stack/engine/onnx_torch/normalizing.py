"""Operators that bring numbers to mean 0 and deviation 1, of the batch's statistics or of their own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stack.engine.onnx_torch.node import Given, Node, Operator, operator, optional

EPSILON = 1e-5


def _layer(x: Given, node: Node) -> Tensor:
    """Over all axes from the given one on; the scale may have fewer."""
    given, scale, *_ = x
    bias = optional(x, 2)
    shape = given.shape[node.get("axis", -1) :]
    epsilon = node.get("epsilon", EPSILON)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return functional.layer_norm(given, shape, scale, bias, epsilon)
    result = functional.layer_norm(given, shape, None, None, epsilon) * scale
    return result if bias is None else result + bias


def _rms(x: Given, node: Node) -> Tensor:
    given = x[0].float()
    axis = node.get("axis", -1) % given.ndim
    square = torch.mean(given * given, dim=list(range(axis, given.ndim)), keepdim=True)
    return (given * torch.rsqrt(square + node.get("epsilon", EPSILON))).to(x[0].dtype) * x[1]


def _group(x: Given, node: Node) -> Tensor:
    """Until opset 20 there was one scale and bias a group, since then one a channel."""
    given, scale, bias = x
    groups = node.get("num_groups")
    if node.opset < 21:
        each = given.shape[1] // groups
        scale, bias = (value.repeat_interleave(each) for value in (scale, bias))
    return torch.group_norm(given, groups, scale, bias, node.get("epsilon", EPSILON))


def _instance(x: Given, node: Node) -> Tensor:
    return torch.group_norm(x[0], x[0].shape[1], x[1], x[2], node.get("epsilon", EPSILON))


def _batch(x: Given, node: Node) -> Tensor:
    given, scale, bias, mean, variance = x
    return functional.batch_norm(given, mean, variance, scale, bias, False, 0.0, node.get("epsilon", EPSILON))


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": operator(_batch, "epsilon", "momentum", training_mode=0),
    "GroupNormalization": operator(_group, "epsilon", "num_groups", stash_type=1),
    "InstanceNormalization": operator(_instance, "epsilon"),
    "LayerNormalization": operator(_layer, "axis", "epsilon", stash_type=1),
    "RMSNormalization": operator(_rms, "axis", "epsilon", stash_type=1),
}
