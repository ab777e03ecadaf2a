"""The precision of a graph or an engine, read from what it really is.

`of_graph` says what the weights of the computing operators are, also after a library has rewritten the graph: ONNX
Runtime, for one, computes fp16 in fp32 where its processor has no such kernel. `of_engines` reads what TensorRT's
inspector tells.
"""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto

from model_registry.core.errors import IncompatibleError
from model_registry.core.onnx_parts import elements, skeleton
from stack.engine.backends import ANY

TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
_NAMES = {**{number: name for name, number in TYPES.items()}, TensorProto.UINT8: "int8", TensorProto.INT32: "int8"}
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_COMPUTES = re.compile(r"Conv|MatMul|Gemm|LSTM|GRU|RNN|Attention|EmbedLayer")
_WORDS = {"bf16": r"bf16|bfloat16", "fp16": r"half|fp16|float16", "int8": r"int8", "fp32": r"float|fp32"}
_PASSES = ("Cast", "DequantizeLinear", "Transpose", "Reshape", "Identity", "Unsqueeze", "Slice", "Concat")
_SHARES = {"int8": 0.5}  # recurrent layers stay float32 when a graph is quantised


def of_graph(model: onnx.ModelProto) -> str:
    """The precision of nine tenths of the weights that are multiplied (of half of them: int8), or how they divide:

    `70 % fp32, 30 % fp16`. ANY where there are no weights to say it.
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
        floats = [item for item in weights.values() if item.data_type in _FLOATS]
        return _NAMES[max(floats, key=elements).data_type] if floats else ANY
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
    known = {item.name: item.type.tensor_type.shape.dim for item in infos(model)}
    weights = {item.name: item for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    total = 0
    for node in model.graph.node:
        shape = [item.dim_value for item in known.get(node.output[0], ())] if _COMPUTES.search(node.op_type) else []
        if shape:
            channels = shape[1] if "Conv" in node.op_type else shape[-1]
            sizes = sum(_weight(name, weights, makers)[2] for name in node.input)
            total += sizes * (int(np.prod(shape, dtype=np.int64)) // max(channels, 1))
    return total


def infos(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Types and shapes of what its nodes give."""
    known = onnx.shape_inference.infer_shapes(skeleton(model)).graph
    return [*known.value_info, *known.output]


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
    return name, weights[name].data_type if cast is None else cast, elements(weights[name])
