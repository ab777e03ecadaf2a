"""Graphs of one node each, for tests of what runs such graphs.

    case("CumSum", floats(2, 3), held([1]), exclusive=1)

is a node with two inputs: what the graph is given, and what it holds as a constant. None stands for an optional input
that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 18
_RNG = np.random.default_rng(3)


@dataclass(frozen=True)
class Held:
    """A constant of the graph."""

    value: NDArray[Any]


Slot = NDArray[Any] | Held | None


@dataclass(frozen=True)
class Case:
    """A node and the numbers of its inputs."""

    kind: str
    slots: tuple[Slot, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = OPSET
    outputs: int = 1

    def __str__(self) -> str:
        types = "_".join(_label(slot) for slot in self.slots)
        attributes = "_".join(f"{name}={value}" for name, value in self.attributes.items() if name != "value")
        return f"{self.kind}-{self.opset}-{types}-{attributes}".replace(" ", "")

    def given(self) -> dict[str, NDArray[Any]]:
        """What the graph is given, by name."""
        return {f"x{index}": slot for index, slot in enumerate(self.slots) if isinstance(slot, np.ndarray)}

    def results(self) -> list[str]:
        return [f"y{index}" for index in range(self.outputs)]

    def model(self, *, constant: bool = False) -> onnx.ModelProto:
        """`constant`: with everything as a constant, and no inputs."""
        names = ["" if slot is None else f"x{index}" for index, slot in enumerate(self.slots)]
        held = {f"x{index}": slot.value for index, slot in enumerate(self.slots) if isinstance(slot, Held)}
        given = self.given()
        if constant:
            held = {**held, **given}
            given = {}
        node = helper.make_node(self.kind, names, self.results(), **self.attributes)
        return model_of([node], given, held, self.results(), self.opset)


def _label(slot: Slot) -> str:
    if slot is None:
        return "none"
    value = slot.value if isinstance(slot, Held) else slot
    return f"{value.dtype}{list(value.shape)}"


def model_of(
    nodes: Sequence[onnx.NodeProto],
    given: Mapping[str, NDArray[Any]],
    held: Mapping[str, NDArray[Any]],
    results: Sequence[str],
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A graph whose inputs have the types and sizes of `given`; those of its outputs are left to whoever reads it."""
    ends = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    constants = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "graph", ends, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def held(value: Any, dtype: Any = None) -> Held:
    array = np.array(value, dtype) if dtype else np.array(value)
    return Held(array.astype(np.float32) if array.dtype == np.float64 else array)


def case(kind: str, *slots: Slot, opset: int = OPSET, outputs: int = 1, **attributes: Any) -> Case:
    return Case(kind, slots, attributes, opset, outputs)


def floats(*shape: int) -> NDArray[np.float32]:
    return _RNG.standard_normal(shape).astype(np.float32)


def halves(*shape: int) -> NDArray[np.float16]:
    return _RNG.standard_normal(shape).astype(np.float16)


def whole(*shape: int, low: int = -20, high: int = 20, dtype: Any = np.int64) -> NDArray[Any]:
    return _RNG.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> NDArray[np.bool_]:
    return _RNG.random(shape) < 0.5
