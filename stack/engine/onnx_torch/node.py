"""One node of a graph as its operator sees it, and the entry of an operator in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor

from model_registry.core.errors import IncompatibleError

TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.BFLOAT16: torch.bfloat16,
}
"""The types of ONNX that a tensor may have here."""

Given = Sequence[Tensor]
"""A node's inputs in order; None in the place of an optional one that is not given."""


@dataclass(frozen=True)
class Node:
    """`attributes` as they are written, text instead of bytes. `constants`: for each input its numbers, in one row,
    where they are few and known before the graph runs, else None.
    """

    kind: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[list[Any] | None, ...]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever the attribute is
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether the optional input is given."""
        return len(self.inputs) > index and self.inputs[index] != ""

    def numbers(self, index: int) -> list[Any] | None:
        """The numbers of an input that decides on shapes; None where it is not given.

        Raises IncompatibleError when they depend on what the graph is given.
        """
        if not self.has(index):
            return None
        if self.constants[index] is None:
            raise self.refused(f"with an input {self.inputs[index]!r} that is known only when the graph runs")
        return self.constants[index]

    def number(self, index: int, default: Any = None) -> Any:  # noqa: ANN401 - an int, a float or a bool
        """The one number of an input that decides on shapes. Raises IncompatibleError as `numbers` does."""
        found = self.numbers(index)
        return default if found is None else found[0]

    def refused(self, how: str = "") -> IncompatibleError:
        """To be raised: the torch backends have not got this operator, or not as it is used here."""
        name = f"operator {self.kind} {how}".rstrip()
        return IncompatibleError(f"{name}: the torch backends do not compute it; choose another backend")


Run = Callable[[Given, Node], Any]


@dataclass(frozen=True)
class Operator:
    """How a kind of node is computed: `run` gives one tensor or a tuple of them.

    A node may have each of `attributes` with any value, and each of `only` with this one value.
    """

    run: Run
    attributes: frozenset[str]
    only: Mapping[str, Any]

    def check(self, node: Node) -> None:
        """Raises IncompatibleError naming an attribute, or a value of one, that would not be respected."""
        for name, value in node.attributes.items():
            if name in self.attributes:
                continue
            if name not in self.only:
                raise node.refused(f"with the attribute {name}")
            if value != self.only[name]:
                raise node.refused(f"with {name}={value}")

    def compute(self, given: Given, node: Node) -> Sequence[Tensor]:
        """All outputs that the operator has: the node may want fewer, and GraphPlan refuses one that wants more."""
        result = self.run(given, node)
        return result if isinstance(result, (tuple, list)) else (result,)


def operator(run: Run, *attributes: str, **only: object) -> Operator:
    """An entry of a table; see Operator."""
    return Operator(run, frozenset(attributes), only)


def optional(given: Given, index: int) -> Tensor | None:
    """An input that a node may leave out."""
    return given[index] if len(given) > index else None


def whole_numbers(tensor: Tensor) -> bool:
    """Whether it has an integer type or bool."""
    return not tensor.dtype.is_floating_point
