"""Change the precision of an ONNX graph.

`convert` bakes fp16 or bf16 into a graph whose inputs and outputs stay float32, by the types that the operators' own
schemas allow: what exists in float32 only (the scales of a Resize, for one) keeps it, between two casts.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.errors import IncompatibleError
from stack.engine.precision import TYPES, infos

_FLOAT = TensorProto.FLOAT


def convert(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """The same graph in `precision` (fp32, fp16, bf16).

    Raises IncompatibleError naming an operator without a schema.
    """
    if precision == "fp32":
        return model
    for node in model.graph.node:
        _schema(node, model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.value_info.extend(infos(model))
    _Converter(result, TYPES[precision]).run()
    return result


def _schema(node: onnx.NodeProto, model: onnx.ModelProto) -> onnx.defs.OpSchema:
    version = next((item.version for item in model.opset_import if item.domain == node.domain), 0)
    if not version or not onnx.defs.has(node.op_type, version, node.domain):
        raise IncompatibleError(f"operator {node.domain}.{node.op_type}: not in the ONNX standard; export without it")
    if any(attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute):
        raise IncompatibleError(f"operator {node.op_type}: graphs inside of graphs are not converted; export without")
    return onnx.defs.get_schema(node.op_type, version, node.domain)


class _Converter:
    """Changes one graph in place."""

    def __init__(self, model: onnx.ModelProto, target: int) -> None:
        self._model = model
        self._graph = model.graph
        self._target = target
        infos = (*self._graph.value_info, *self._graph.input, *self._graph.output)
        self._floats = {info.name for info in infos if info.type.tensor_type.elem_type == _FLOAT}
        self._floats |= {item.name for item in self._graph.initializer if item.data_type == _FLOAT}
        self._initial = {item.name: item for item in self._graph.initializer}
        self._wide: dict[str, TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        inputs, outputs = ([item.name for item in part] for part in (self._graph.input, self._graph.output))
        for name in inputs:
            if name in self._floats:
                self._cast(name, f"{name}__narrow", self._target)
        rename = {name: f"{name}__narrow" for name in (*inputs, *outputs) if name in self._floats}
        for node in self._graph.node:
            self._convert(node, rename)
        for name in outputs:
            if name in self._floats:
                self._cast(f"{name}__narrow", name, _FLOAT)
        for tensor in self._graph.initializer:
            self._narrow(tensor)
        self._graph.initializer.extend(self._wide.values())
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)

    def _convert(self, node: onnx.NodeProto, rename: dict[str, str]) -> None:
        inputs, outputs = self._allowed(node)
        narrow = onnx.NodeProto()
        narrow.CopyFrom(node)
        for attribute in narrow.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == _FLOAT:
                attribute.i = self._target
            self._narrow(attribute.t)
        after = []
        for index, name in enumerate(node.input):
            here = rename.get(name, name)
            if name in self._floats and not inputs[index]:
                here = self._widened(name, here)
            narrow.input[index] = here
        for index, name in enumerate(node.output):
            narrow.output[index] = rename.get(name, name)
            if name in self._floats and not outputs[index]:
                after.append((f"{name}__wide", narrow.output[index]))
                narrow.output[index] = f"{name}__wide"
        self._nodes.append(narrow)
        for name, there in after:
            self._cast(name, there, self._target)

    def _widened(self, name: str, here: str) -> str:
        """A float32 value for what takes no other: the constant as it was, or the value cast back."""
        if name in self._initial:
            kept = self._wide.setdefault(name, TensorProto())
            kept.CopyFrom(self._initial[name])
            kept.name = wide = f"{name}__wide"
        else:
            wide = f"{name}__wide_{len(self._nodes)}"
            self._cast(here, wide, _FLOAT)
        return wide

    def _allowed(self, node: onnx.NodeProto) -> tuple[list[bool], list[bool]]:
        """Whether each input and output may have the target's type: opset 22 added bfloat16 wherever float16 stood, as
        GPU builders always did.
        """
        schema = _schema(node, self._model)
        return tuple(  # type: ignore[return-value]
            ["tensor(float16)" in formal[min(index, len(formal) - 1)].types for index in range(len(names))]
            for formal, names in ((schema.inputs, node.input), (schema.outputs, node.output))
        )

    def _cast(self, source: str, target: str, to: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}__cast", to=to))

    def _narrow(self, tensor: TensorProto) -> None:
        """Round a float32 tensor; what is too large for fp16 becomes its largest number: the parity gate judges it."""
        if tensor.data_type == _FLOAT:
            kind = helper.tensor_dtype_to_np_dtype(self._target)
            values = numpy_helper.to_array(tensor)
            if self._target == TensorProto.FLOAT16:
                values = values.clip(-65504.0, 65504.0)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(kind), tensor.name))
