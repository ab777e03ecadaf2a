"""A graph, read: what of it is constant, and what is left to compute, in order.

Each node is tried once. One whose inputs are all known and small is computed then and there, so that shapes, masks and
tables of positions are numbers before the graph runs. The others are tried on torch's `meta` tensors, which have types
and sizes but no numbers: that gives the sizes of what comes after, and finds what torch cannot do before anything is
run. Large weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, inliner, numpy_helper
from torch import Tensor

from model_registry.core.errors import IncompatibleError
from model_registry.core.reasons import reason
from stack.engine.onnx_torch.node import TYPES, Node, Operator
from stack.engine.onnx_torch.operators import OPERATORS, OPSETS

_COMPUTED = 65_536
"""So many numbers an input of a node may have at most for the node to be computed when the graph is read."""
_NUMBERS = 1_024
"""So many numbers an input that decides on shapes may have at most."""
_STANDARD = ("", "ai.onnx")
_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")


@dataclass(frozen=True)
class Computation:
    """One node that is left. After it nothing needs the tensors that are `done`."""

    operator: Operator
    node: Node
    done: tuple[str, ...]


class GraphPlan:
    """`constants`: tensors by name, of which `computations` need some, as they need the tensors called `names`.

    Raises IncompatibleError: it names the operator that is not known, or that is used in a way that is not; the tensor
    whose type or size is not known; or the inputs, when they are not those of the graph, or an output that it lacks.
    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str], results: Sequence[str]) -> None:
        if model.functions:
            model = inliner.inline_local_functions(model)
        self._opset = next((item.version for item in model.opset_import if item.domain in _STANDARD), 0)
        if self._opset not in OPSETS:
            raise IncompatibleError(
                f"opset {self._opset}: the torch backends read {OPSETS[0]} to {OPSETS[-1]}; export the graph with one "
                "of these"
            )
        self.constants = {item.name: tensor(item) for item in model.graph.initializer}
        inputs = [item for item in model.graph.input if item.name not in self.constants]
        if sorted(names) != sorted(item.name for item in inputs):
            taken = ", ".join(item.name for item in inputs) or "none"
            raise IncompatibleError(
                f"inputs {', '.join(names) or 'none'}: the graph takes {taken}; pack the model again"
            )
        self._moving = {item.name: _without_numbers(item) for item in inputs}
        self._left: list[tuple[Operator, Node]] = []
        for item in model.graph.node:
            self._try(item)
        for name in results:
            if name not in self.constants and name not in self._moving:
                raise IncompatibleError(f"output {name}: the graph does not give it; pack the model again")
        self.computations = list(_with_ends(self._left, {*results, *names, *self.constants}))
        used = {name for _, node in self._left for name in node.inputs}
        self.constants = {name: value for name, value in self.constants.items() if name in used or name in results}

    def _try(self, item: onnx.NodeProto) -> None:
        attributes = {each.name: _attribute(each) for each in item.attribute}
        known = tuple(self._numbers(name) for name in item.input)
        node = Node(item.op_type, self._opset, attributes, tuple(item.input), tuple(item.output), known)
        if item.domain not in _STANDARD:
            raise node.refused(f"of the domain {item.domain}")
        if item.op_type == "Constant":
            self.constants[item.output[0]] = _value(node)
            return
        operator = OPERATORS.get(item.op_type)
        if operator is None:
            raise node.refused()
        operator.check(node)
        made = dict(zip(node.outputs, self._compute(operator, node), strict=False))
        self.constants.update({name: each for name, each in made.items() if not each.is_meta})
        self._moving.update({name: each for name, each in made.items() if each.is_meta})
        if any(each.is_meta for each in made.values()):
            self._left.append((operator, node))

    def _compute(self, operator: Operator, node: Node) -> Sequence[Tensor]:
        """With numbers where all are known and few, else without."""
        values = [self.constants.get(name) for name in node.inputs if name]
        now = all(value is not None and value.numel() <= _COMPUTED for value in values)
        given = [self._given(name, now) for name in node.inputs]
        try:
            with torch.no_grad():
                made = operator.compute(given, node)
        except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as error:
            raise node.refused(f"as it is used here ({reason(error)})") from error
        if any(node.outputs[len(made) :]):
            raise node.refused(f"with {len(node.outputs)} outputs")
        return made

    def _given(self, name: str, now: bool) -> Tensor | None:
        if not name:
            return None
        value = self.constants.get(name)
        if value is None:
            return self._moving[name]
        return value if now else value.to("meta")

    def _numbers(self, name: str) -> list[Any] | None:
        value = self.constants.get(name)
        if value is None or value.numel() > _NUMBERS:
            return None
        numbers: list[Any] = value.reshape(-1).tolist()
        return numbers


def tensor(item: onnx.TensorProto) -> Tensor:
    """With its numbers. Raises IncompatibleError for a type that is not known."""
    if item.data_type not in TYPES:
        raise _unknown_type(f"tensor {item.name}", item.data_type)
    numbers = numpy_helper.to_array(item)
    if item.data_type == TensorProto.BFLOAT16:
        return torch.from_numpy(numbers.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(numbers.copy())


def _unknown_type(what: str, number: int) -> IncompatibleError:
    name = TensorProto.DataType.Name(number)
    return IncompatibleError(f"{what} has the type {name}: the torch backends do not have it; choose another backend")


def _without_numbers(item: onnx.ValueInfoProto) -> Tensor:
    """The type and sizes of an input."""
    kind = item.type.tensor_type
    if kind.elem_type not in TYPES:
        raise _unknown_type(f"input {item.name}", kind.elem_type)
    if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        raise IncompatibleError(f"input {item.name}: an axis has no size; pack the model again, which fixes it")
    return torch.empty([dim.dim_value for dim in kind.shape.dim], dtype=TYPES[kind.elem_type], device="meta")


def _attribute(item: onnx.AttributeProto) -> Any:  # noqa: ANN401 - a number, a text, a tensor, or a list of them
    value = helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return tensor(value)
    if item.type in (onnx.AttributeProto.STRINGS, onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return [each.decode() if isinstance(each, bytes) else each for each in value]
    return value


def _value(node: Node) -> Tensor:
    """What a Constant holds, in one of five ways."""
    name, value = next(iter(node.attributes.items()))
    if name not in _VALUES:
        raise node.refused(f"with the attribute {name}")
    if name == "value":
        return value
    return torch.tensor(value, dtype=torch.int64 if "int" in name else torch.float32)


def _with_ends(left: Sequence[tuple[Operator, Node]], kept: set[str]) -> list[Computation]:
    """Each node with the tensors that it is the last to need, or that nothing needs."""
    needed = set(kept)
    result = []
    for operator, node in reversed(left):
        touched = {name for name in (*node.inputs, *node.outputs) if name}
        result.append(Computation(operator, node, tuple(sorted(touched - needed))))
        needed |= touched
    return result[::-1]
