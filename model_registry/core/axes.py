"""The ends of a graph, what it takes and gives, are those that the contract names; axes without a size get one.

Guides of exporters leave a name in the place of a number ("batch"), so that one graph serves any batch. A robot runs
one observation at a time and takes memory for it once: where the contract says how long an axis is, packing writes that
number into the graph, and into every other place where the same name stands. An engine's build does the same, so a
model that was packed without it builds as well.

    ends = Ends(model)        the objects are those of the library `onnx`, which is not imported here
    ends.hold(graph)          fixes what it can
    ends.faults, ends.fixed   what is wrong, and what was fixed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_registry.core.contract.graphs import Graph

# TensorProto.DataType of onnx.proto.
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "text", 9: "bool"}
_DTYPES |= {10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16"}
_EXPORT = "make vla.json and the graph agree, or export it again"


@dataclass
class Ends:
    """Holds an ONNX file against its graph in a contract; sizes of axes are written into the graph as they are found.

    `faults`: what cannot be fixed, one sentence each; `fixed`: each axis that got a size, in words.
    """

    model: Any  # onnx.ModelProto: the library has no types
    faults: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    _sizes: dict[str, tuple[int, str]] = field(default_factory=dict)

    def hold(self, wanted: Graph) -> None:
        """Compare names, shapes and types of everything that the contract gives and uses."""
        graph = self.model.graph
        weights = {item.name for item in graph.initializer}
        inputs = {item.name: item for item in graph.input if item.name not in weights}
        outputs = {item.name: item for item in graph.output}
        given = {item.name: (item.dtype, item.shape) for item in wanted.inputs}
        self._compare("input", inputs, given)
        for name in inputs.keys() - given.keys() if given.keys() <= inputs.keys() else ():
            self.faults.append(f"the graph also wants an input {name!r}, which vla.json does not name; {_EXPORT}")
        self._compare("output", outputs, {item.name: (item.dtype, item.shape) for item in wanted.outputs})
        self._spread()

    def _compare(
        self,
        kind: str,
        have: Mapping[str, Any],
        wanted: Mapping[str, tuple[str, tuple[int, ...]]],
    ) -> None:
        for name, (dtype, shape) in wanted.items():
            if name not in have:
                others = ", ".join(sorted(have)) or "none"
                self.faults.append(f"the graph has no {kind} {name!r}, only {others}; {_EXPORT}")
                continue
            self._compare_type(name, have[name].type, dtype)
            if have[name].type.HasField("tensor_type"):
                self._compare_shape(name, have[name].type.tensor_type, shape)

    def _compare_type(self, name: str, kind: Any, dtype: str) -> None:  # noqa: ANN401
        if not kind.HasField("tensor_type"):
            self.faults.append(f"tensor {name!r} is not a tensor but a {kind.WhichOneof('value')}; {_EXPORT}")
        elif _DTYPES.get(kind.tensor_type.elem_type) != dtype:
            said = dtype_name(kind.tensor_type.elem_type)
            self.faults.append(f"tensor {name!r} is {said}, and vla.json says {dtype}; {_EXPORT}")

    def _compare_shape(self, name: str, tensor: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401
        if not tensor.HasField("shape"):
            for _ in shape:
                tensor.shape.dim.add()
            tensor.shape.SetInParent()
        if len(tensor.shape.dim) != len(shape):
            said = shape_text(tensor.shape)
            self.faults.append(f"tensor {name!r} is {said}, and vla.json says {list(shape)}; {_EXPORT}")
            return
        for axis, (dim, size) in enumerate(zip(tensor.shape.dim, shape, strict=True)):
            self._compare_axis(f"axis {axis} of {name!r}", dim, size)

    def _compare_axis(self, place: str, dim: Any, size: int) -> None:  # noqa: ANN401
        if dim.HasField("dim_value") and dim.dim_value > 0:
            if dim.dim_value != size:
                self.faults.append(f"{place} is {dim.dim_value} long, and vla.json says {size}; {_EXPORT}")
            return
        symbol = dim.dim_param
        before = self._sizes.setdefault(symbol, (size, place)) if symbol else (size, place)
        if before[0] != size:
            self.faults.append(
                f"{place} is as long as {before[1]} ({symbol!r}), and vla.json says {size} and {before[0]}; export it "
                "again with fixed shapes"
            )
            return
        dim.dim_value = size
        self.fixed.append(f"{place}{f' ({symbol})' if symbol else ''} is fixed to {size}")

    def _spread(self) -> None:
        """Write the sizes of named axes wherever else the same name stands."""
        graph = self.model.graph
        for item in (*graph.input, *graph.output, *graph.value_info):
            for dim in item.type.tensor_type.shape.dim if item.type.HasField("tensor_type") else ():
                if dim.dim_param in self._sizes:
                    dim.dim_value = self._sizes[dim.dim_param][0]


def dtype_name(number: int) -> str:
    """An element type in numpy's words, or its number where ONNX only knows it."""
    return _DTYPES.get(number, f"of type {number}")


def shape_text(shape: Any) -> str:  # noqa: ANN401
    """A shape as a person writes it: [1, N, ?]."""
    return f"[{', '.join(str(dim.dim_value or dim.dim_param or '?') for dim in shape.dim)}]"
