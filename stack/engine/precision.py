"""The precision of an ONNX graph: read from it, and changed in it.

`convert` bakes fp16 or bf16 into a graph whose inputs and outputs stay float32, by the types that the operators' own
schemas allow: what exists in float32 only (the scales of a Resize, for one) keeps it, between two casts. `of_graph`
says what the weights of the computing operators really are, also after a library has rewritten the graph: ONNX Runtime,
for one, computes fp16 in fp32 where its processor has no such kernel.
"""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_registry.core.errors import IncompatibleError

TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
_NAMES = {**{number: name for name, number in TYPES.items()}, TensorProto.UINT8: "int8", TensorProto.INT32: "int8"}
_FLOAT = TensorProto.FLOAT
_COMPUTES = re.compile(r"Conv|MatMul|Gemm|LSTM|GRU|RNN|Attention|EmbedLayer")
_WORDS = {"bf16": r"bf16|bfloat16", "fp16": r"half|fp16|float16", "int8": r"int8", "fp32": r"float|fp32"}
_PASSES = ("Cast", "DequantizeLinear", "Transpose", "Reshape", "Identity", "Unsqueeze", "Slice", "Concat")
_SMALL = 1024  # elements: what may be a shape, and not a weight
_SHARES = {"int8": 0.5}  # recurrent layers stay float32 when a graph is quantised


def of_graph(model: onnx.ModelProto) -> str:
    """The precision of nine tenths of the weights that are multiplied (of half of them: int8), or how they divide:

    `70 % fp32, 30 % fp16`.
    """
    sizes: Counter[str] = Counter()
    weights = {item.name: item for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if _COMPUTES.search(node.op_type):
            for name, number, size in (_weight(name, weights, makers) for name in node.input):
                if name and number in _NAMES:
                    sizes[_NAMES[number]] += size
    if not sizes:
        return "fp32" if not weights else _NAMES.get(max(weights.values(), key=_elements).data_type, "none")
    return verdict(sizes)


def of_engines(*informations: str) -> str:
    """From the inspector of each engine that was built.

    Raises IncompatibleError when none tells: nobody knows what it would compute in.
    """
    found = verdict(Counter(of_inspection(text) for text in informations))
    if found == "unknown":
        said = " ".join("".join(informations).split())[:300] or "nothing"
        raise IncompatibleError(
            f"the precision of what was built cannot be read, its inspector tells {said}; send this line, or choose "
            "another backend"
        )
    return found


def of_inspection(information: str) -> str:
    """From the engine inspector's JSON: the type of the weights, or of what layers give where none tells of weights."""
    layers = [layer for layer in json.loads(information or "{}").get("Layers", []) if isinstance(layer, dict)]
    weights = Counter[str]()
    outputs = Counter[str]()
    for layer in layers:
        held = layer.get("Weights") or {}
        weights[_word(held.get("Type", ""))] += int(held.get("Count", 0))
        if not re.search(r"reformat|cast|shuffle|constant", str(layer.get("LayerType", "")), re.I):
            outputs.update(_word(str(each.get("Format/Datatype", ""))) for each in layer.get("Outputs", ()))
    return verdict(+weights if sum(weights.values()) else outputs)


def _word(text: str) -> str:
    return next((name for name, words in _WORDS.items() if re.search(words, text, re.I)), "unknown")


def verdict(sizes: Counter[str]) -> str:
    """One precision when enough of all elements have it, or how they divide; `unknown` of nothing."""
    total = sum(sizes.values())
    shares = {name: size / total for name, size in sizes.most_common()}
    whole = next((name for name, share in shares.items() if share >= _SHARES.get(name, 0.9)), None)
    return whole or ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items()) or "unknown"


def multiplications(model: onnx.ModelProto) -> int:
    """How many numbers one run multiplies with weights: what decides whether more threads are worth their waking."""
    infos = {item.name: item.type.tensor_type.shape.dim for item in _infos(model)}
    weights = {item.name: item for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    total = 0
    for node in model.graph.node:
        shape = [item.dim_value for item in infos.get(node.output[0], ())] if _COMPUTES.search(node.op_type) else []
        if shape:
            channels = shape[1] if "Conv" in node.op_type else shape[-1]
            sizes = sum(_weight(name, weights, makers)[2] for name in node.input)
            total += sizes * (int(np.prod(shape, dtype=np.int64)) // max(channels, 1))
    return total


def _infos(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Types and shapes of what its nodes give."""
    known = onnx.shape_inference.infer_shapes(skeleton(model)).graph
    return [*known.value_info, *known.output]


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with inputs for its weights, on whose values no shape depends: what serializes a model whole ends at 2
    GiB.
    """
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = light.graph
    names = {item.name for item in model.graph.input}
    graph.name = model.graph.name
    light.functions.extend(model.functions)
    for field in ("node", "input", "output", "value_info"):
        getattr(graph, field).extend(getattr(model.graph, field))
    for item in model.graph.initializer:
        if _elements(item) <= _SMALL:
            graph.initializer.append(item)
        elif item.name not in names:
            graph.input.append(helper.make_tensor_value_info(item.name, item.data_type, item.dims))
    return light


def _weight(
    name: str, weights: dict[str, TensorProto], makers: dict[str, onnx.NodeProto], cast: int | None = None
) -> tuple[str, int, int]:
    """The weight behind an input of a computing node, the type it has there, and its elements; no name when there is
    none.
    """
    while name not in weights and name in makers and makers[name].op_type in _PASSES:
        node = makers[name]
        if node.op_type == "Cast" and cast is None:
            cast = next(attribute.i for attribute in node.attribute if attribute.name == "to")
        name = node.input[0]
    if name not in weights:
        return "", 0, 0
    return name, weights[name].data_type if cast is None else cast, _elements(weights[name])


def _elements(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64))


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
    result.graph.value_info.extend(_infos(model))
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
