"""An ONNX graph as a torch module, so that torch runs the same packaged bytes as every other backend.

Models carry no exported program: loading one unpickles whatever is in it. A graph is data; here each of its nodes is
one call. Shapes are static, as in every model here, so that the module can be exported and compiled as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError

_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 16: torch.bfloat16}

Given = Sequence[Any]
Attributes = dict[str, Any]


class TorchGraph(torch.nn.Module):  # type: ignore[misc]
    """Takes the graph's inputs in the order of the contract and gives its output.

    Raises IncompatibleError naming an operator it does not know.
    """

    def __init__(self, model: onnx.ModelProto, contract: Contract) -> None:
        super().__init__()
        self.names = [item.name for item in contract.inputs]
        self._output = contract.output
        self._places: dict[str, str] = {}
        self._numbers: dict[str, list[int]] = {}
        for index, item in enumerate(model.graph.initializer):
            self._keep(item.name, item, index)
        self._nodes: list[tuple[Callable[[Given, Attributes], Any], Attributes, list[str], list[str]]] = []
        for node in model.graph.node:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], attributes["value"], len(self._places) + len(model.graph.initializer))
            elif node.domain or node.op_type not in _OPERATORS:
                raise IncompatibleError(f"operator {node.op_type}: torch is not taught it here; choose another backend")
            else:
                self._nodes.append((_OPERATORS[node.op_type], attributes, list(node.input), list(node.output)))

    def _keep(self, name: str, tensor: onnx.TensorProto, index: int) -> None:
        if tensor.data_type == onnx.TensorProto.BFLOAT16:
            value = torch.from_numpy(numpy_helper.to_array(tensor).astype("float32")).to(torch.bfloat16)
        else:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        if value.dtype == torch.int64 and value.ndim <= 1:
            self._numbers[name] = value.reshape(-1).tolist()  # shapes and axes must be known when this is exported
        self._places[name] = f"constant_{index}"
        self.register_buffer(self._places[name], value)

    def forward(self, *inputs: Tensor) -> Tensor:
        values: dict[str, Any] = dict(zip(self.names, inputs, strict=True))
        for run, attributes, given, made in self._nodes:
            arguments = [self._value(name, values) for name in given]
            numbers = {"numbers": [self._numbers.get(name) for name in given], "outputs": len(made)}
            result = run(arguments, {**attributes, **numbers})
            values.update(zip(made, result if isinstance(result, (tuple, list)) else (result,), strict=False))
        output: Tensor = values[self._output]
        return output

    def _value(self, name: str, values: dict[str, Any]) -> Any:  # noqa: ANN401 - a tensor, or None where an optional input is not given
        if name in values:
            return values[name]
        return getattr(self, self._places[name]) if name else None


def _axes(a: Attributes, index: int = 1) -> list[int] | None:
    """An attribute until opset 12 or 17, an input after."""
    numbers = a["numbers"]
    axes: list[int] | None = numbers[index] if len(numbers) > index else a.get("axes")
    return axes


def _pads(a: Attributes) -> list[int]:
    """ONNX: all beginnings, then all ends; torch: from the last dimension, both at once."""
    pads = list(a.get("pads", ()))
    half = len(pads) // 2
    return [value for axis in reversed(range(half)) for value in (pads[axis], pads[axis + half])]


def _conv(x: Given, a: Attributes) -> Tensor:
    bias = x[2] if len(x) > 2 else None
    one = [1] * (x[0].ndim - 2)
    pads = list(a.get("pads", ())) or [0] * 2 * (x[0].ndim - 2)
    before = pads[: len(one)]
    after = pads[len(one) :]
    given, padding = (x[0], before) if before == after else (functional.pad(x[0], _pads(a)), [0] * len(one))
    convolve = functional.conv1d if x[0].ndim == 3 else functional.conv2d
    return convolve(given, x[1], bias, a.get("strides", one), padding, a.get("dilations", one), a.get("group", 1))


def _max_pool(x: Given, a: Attributes) -> Tensor:
    size = a["kernel_shape"]
    padded = functional.pad(x[0], _pads(a), value=float("-inf")) if any(_pads(a)) else x[0]
    return functional.max_pool2d(padded, size, a.get("strides", [1, 1]), ceil_mode=bool(a.get("ceil_mode", 0)))


def _average_pool(x: Given, a: Attributes) -> Tensor:
    if any(a.get("pads", ())):
        raise IncompatibleError(
            "operator AveragePool with padding: torch is not taught it here; choose another backend"
        )
    return functional.avg_pool2d(
        x[0], a["kernel_shape"], a.get("strides", [1, 1]), ceil_mode=bool(a.get("ceil_mode", 0))
    )


def _gemm(x: Given, a: Attributes) -> Tensor:
    left, right = (value.T if a.get(key) else value for value, key in ((x[0], "transA"), (x[1], "transB")))
    product = a.get("alpha", 1.0) * (left @ right)
    return product + a.get("beta", 1.0) * x[2] if len(x) > 2 else product


def _reshape(x: Given, a: Attributes) -> Tensor:
    shape = [x[0].shape[index] if size == 0 else size for index, size in enumerate(a["numbers"][1])]
    return x[0].reshape(shape)


def _unsqueeze(x: Given, a: Attributes) -> Tensor:
    result = x[0]
    axes = _axes(a) or []
    for axis in sorted(axis % (x[0].ndim + len(axes)) for axis in axes):
        result = result.unsqueeze(axis)
    return result


def _slice(x: Given, a: Attributes) -> Tensor:
    starts, ends = a["numbers"][1:3]
    axes, steps = (a["numbers"][index] if len(a["numbers"]) > index else None for index in (3, 4))
    result = x[0]
    for index, axis in enumerate(axes or range(len(starts))):
        where = [slice(None)] * result.ndim
        where[axis] = slice(starts[index], ends[index], (steps or [1] * len(starts))[index])
        result = result[tuple(where)]
    return result


def _gather(x: Given, a: Attributes) -> Tensor:
    axis = a.get("axis", 0) % x[0].ndim
    flat = x[1].reshape(-1)
    picked = torch.index_select(x[0], axis, torch.where(flat < 0, flat + x[0].shape[axis], flat))
    return picked.reshape(*x[0].shape[:axis], *x[1].shape, *x[0].shape[axis + 1 :])


def _split(x: Given, a: Attributes) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    sizes = _axes(a) or a.get("split")
    size = -(-x[0].shape[axis] // a.get("num_outputs", a["outputs"]))
    parts: tuple[Tensor, ...] = torch.split(x[0], sizes or size, axis)
    return parts


def _reduce(work: Callable[..., Tensor]) -> Callable[[Given, Attributes], Tensor]:
    def run(x: Given, a: Attributes) -> Tensor:
        axes = _axes(a)
        return work(x[0], dim=list(range(x[0].ndim)) if axes is None else axes, keepdim=bool(a.get("keepdims", 1)))

    return run


def _lstm(x: Given, a: Attributes) -> tuple[Tensor, Tensor, Tensor]:
    """One direction; ONNX orders the gates input, output, forget, cell."""
    if a.get("direction", b"forward") != b"forward" or a.get("layout", 0):
        raise IncompatibleError(
            "operator LSTM backwards or batch first: torch is not taught it here; choose another backend"
        )
    sequence = x[0]
    weight = x[1][0]
    recurrent = x[2][0]
    bias = x[3][0] if len(x) > 3 and x[3] is not None else sequence.new_zeros(8 * a["hidden_size"])
    zeros = sequence.new_zeros(sequence.shape[1], a["hidden_size"])
    hidden, cell = ((x[index][0] if len(x) > index and x[index] is not None else zeros) for index in (5, 6))
    given = sequence @ weight.T + bias[: 4 * a["hidden_size"]] + bias[4 * a["hidden_size"] :]
    steps = []
    for step in range(sequence.shape[0]):
        put, out, forget, new = (given[step] + hidden @ recurrent.T).chunk(4, -1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(put) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        steps.append(hidden)
    return torch.stack(steps).unsqueeze(1), hidden.unsqueeze(0), cell.unsqueeze(0)


def _clip(x: Given, a: Attributes) -> Tensor:
    low, high = (x[index] if len(x) > index else a.get(name) for index, name in ((1, "min"), (2, "max")))
    return x[0] if low is None and high is None else torch.clamp(x[0], low, high)


_OPERATORS: dict[str, Callable[[Given, Attributes], Any]] = {
    "Add": lambda x, a: x[0] + x[1],
    "AveragePool": _average_pool,
    "Cast": lambda x, a: x[0].to(_TYPES[a["to"]]),
    "Clip": _clip,
    "Concat": lambda x, a: torch.cat(list(x), a["axis"]),
    "Conv": _conv,
    "Div": lambda x, a: x[0] / x[1],
    "Equal": lambda x, a: x[0] == x[1],
    "Erf": lambda x, a: torch.erf(x[0]),
    "Expand": lambda x, a: x[0] * torch.ones(a["numbers"][1], dtype=x[0].dtype, device=x[0].device),
    "Flatten": lambda x, a: x[0].reshape(math.prod(x[0].shape[: a.get("axis", 1)]), -1),
    "Gather": _gather,
    "Gelu": lambda x, a: functional.gelu(x[0], approximate=a.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, a: x[0].mean(dim=list(range(2, x[0].ndim)), keepdim=True),
    "LSTM": _lstm,
    "LayerNormalization": lambda x, a: functional.layer_norm(
        x[0], x[0].shape[a.get("axis", -1) :], x[1], x[2] if len(x) > 2 else None, a.get("epsilon", 1e-5)
    ),
    "MatMul": lambda x, a: x[0] @ x[1],
    "MaxPool": _max_pool,
    "Mul": lambda x, a: x[0] * x[1],
    "Not": lambda x, a: ~x[0],
    "ReduceL2": _reduce(lambda x, dim, keepdim: torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim)),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda x, a: torch.relu(x[0]),
    "Reshape": _reshape,
    "Sigmoid": lambda x, a: torch.sigmoid(x[0]),
    "Slice": _slice,
    "Softmax": lambda x, a: torch.softmax(x[0], a.get("axis", -1)),
    "Split": _split,
    "Sqrt": lambda x, a: torch.sqrt(x[0]),
    "Squeeze": lambda x, a: x[0].squeeze(_axes(a)) if _axes(a) else x[0].squeeze(),
    "Sub": lambda x, a: x[0] - x[1],
    "Tanh": lambda x, a: torch.tanh(x[0]),
    "Transpose": lambda x, a: x[0].permute(a.get("perm", list(reversed(range(x[0].ndim))))),
    "Unsqueeze": _unsqueeze,
}
