"""ONNX files as other people's exporters leave them: any inputs and outputs, over a body that nobody runs."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

FLOAT, HALF, INT64, INT32, UINT8, BOOL, DOUBLE = (
    getattr(TensorProto, name) for name in ("FLOAT", "FLOAT16", "INT64", "INT32", "UINT8", "BOOL", "DOUBLE")
)
End = tuple[str, int, list[int | str | None]]
"""Name, element type and shape of an input or output; a name or None in the place of a size: it is not fixed."""


def foreign(file: Path, inputs: list[End], outputs: list[End]) -> Path:
    """Write one file, and return it."""
    nodes = [helper.make_node("Identity", [inputs[0][0]], [name]) for name, _, _ in outputs]
    ends = [[helper.make_tensor_value_info(*end) for end in each] for each in (inputs, outputs)]
    graph = helper.make_graph(nodes, "foreign", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(file))
    return file


def one(file: Path, *inputs: End, output: End = ("actions", FLOAT, [1, 16, 2])) -> Path:
    """A file with one output."""
    return foreign(file, list(inputs), [output])
