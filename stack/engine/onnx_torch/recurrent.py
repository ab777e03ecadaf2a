"""Recurrent layers in one direction, step by step: LSTM and GRU."""

from __future__ import annotations

import torch
from torch import Tensor

from stack.engine.onnx_torch.node import Given, Node, Operator, operator, optional


def _weights(x: Given, node: Node) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For the input, for what was before, and the biases of both: all gates one under the other."""
    if node.has(4):
        raise node.refused("with lengths of sequences")
    bias = optional(x, 3)
    for_input = x[1][0]
    rows = for_input.shape[0]
    biases = x[0].new_zeros(2 * rows) if bias is None else bias[0]
    return for_input, x[2][0], biases[:rows], biases[rows:]


def _before(x: Given, node: Node, index: int) -> Tensor:
    """The state that is given, or zeros: [batch, hidden size]."""
    state = optional(x, index)
    return x[0].new_zeros(x[0].shape[1], x[2].shape[-1]) if state is None else state[0]


def _lstm(x: Given, node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """ONNX orders the gates input, output, forget, cell."""
    if node.has(7):
        raise node.refused("with peepholes")
    weight, recurrent, bias, recurrent_bias = _weights(x, node)
    hidden = _before(x, node, 5)
    cell = _before(x, node, 6)
    given = x[0] @ weight.T + bias + recurrent_bias
    steps = []
    for step in range(x[0].shape[0]):
        put, out, forget, new = (given[step] + hidden @ recurrent.T).chunk(4, -1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(put) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        steps.append(hidden)
    return torch.stack(steps).unsqueeze(1), hidden.unsqueeze(0), cell.unsqueeze(0)


def _gru(x: Given, node: Node) -> tuple[Tensor, Tensor]:
    """ONNX orders the gates update, reset, hidden; the reset comes before or after the last product."""
    weight, recurrent, bias, recurrent_bias = _weights(x, node)
    hidden = _before(x, node, 5)
    given = x[0] @ weight.T + bias
    size = hidden.shape[-1]
    last = recurrent[2 * size :]
    last_bias = recurrent_bias[2 * size :]
    steps = []
    for step in range(x[0].shape[0]):
        update_in, reset_in, new = given[step].chunk(3, -1)
        known = hidden @ recurrent[: 2 * size].T + recurrent_bias[: 2 * size]
        update = torch.sigmoid(update_in + known[:, :size])
        reset = torch.sigmoid(reset_in + known[:, size:])
        if node.get("linear_before_reset", 0):
            new = torch.tanh(new + reset * (hidden @ last.T + last_bias))
        else:
            new = torch.tanh(new + (reset * hidden) @ last.T + last_bias)
        hidden = (1 - update) * new + update * hidden
        steps.append(hidden)
    return torch.stack(steps).unsqueeze(1), hidden.unsqueeze(0)


OPERATORS: dict[str, Operator] = {
    "GRU": operator(
        _gru, "hidden_size", "linear_before_reset", activations=["Sigmoid", "Tanh"], direction="forward", layout=0
    ),
    "LSTM": operator(
        _lstm,
        "hidden_size",
        activations=["Sigmoid", "Tanh", "Tanh"],
        direction="forward",
        input_forget=0,
        layout=0,
    ),
}
