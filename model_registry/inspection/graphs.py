"""Each graph of a model is opened with the library `onnx`, and held against the contract and the oldest runtime.

Weights in other files are measured and not read, so a model of many gigabytes is looked into within seconds and within
the memory that its structure needs. Where ONNX Runtime is installed it opens that structure as well, and so says which
operator it has not for these types; elsewhere `runtime` says what is known of its oldest version.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from model_registry.core.axes import Ends, shape_text
from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph
from model_registry.core.onnx_parts import bytes_of, external, label, skeleton, tensors
from model_registry.core.reasons import reason
from model_registry.inspection.findings import Findings
from model_registry.inspection.runtime import check_runtime
from model_registry.inspection.tensors import check_tensors, place_of

_MOST_BYTES = 2**31 - 1  # of one file: more than that protobuf does not read


def check_graphs(folder: Path, contract: Contract, pointers: frozenset[str], findings: Findings) -> dict[str, bytes]:
    """The graphs that packing has to change, by path, as the bytes to pack."""
    changed: dict[str, bytes] = {}
    for graph in contract.graphs:
        if graph.path not in pointers and (data := _check(folder, graph, contract, pointers, findings)):
            changed[graph.path] = data
    return changed


def _check(
    folder: Path, graph: Graph, contract: Contract, pointers: frozenset[str], findings: Findings
) -> bytes | None:
    """Look into one graph; its new bytes where axes were fixed."""
    path = graph.path
    try:
        model = read(folder / path)
    except ValueError as error:
        findings.refuse(path, f"is not an ONNX graph ({error}); export the model again")
        return None
    before = len(findings.refusals)
    check_runtime(path, model, findings)
    check_tensors(folder, path, model, contract, pointers, findings)
    for sentence in _loose(model.graph, set()):
        findings.refuse(path, sentence)
    ends = Ends(model)
    ends.hold(graph)
    for sentence in ends.faults:
        findings.refuse(path, sentence)
    if len(findings.refusals) == before and not pointers:
        for sentence in _inferred(folder / path, model, graph):
            findings.refuse(path, sentence)
    for sentence in ends.fixed:
        findings.note(path, sentence)
    return bytes(model.SerializeToString()) if ends.fixed else None


def read(path: Path) -> Any:  # noqa: ANN401 — onnx has no types
    """A graph without what lies in other files. Raises ValueError in a few words where it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("one file of ONNX holds 2 GiB, and it is larger: its weights belong into another one")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError as error:
        raise ValueError(reason(error)) from error
    if not model.ir_version or not model.graph.node:
        raise ValueError("there are no nodes in it")
    if not _legible(model):
        raise ValueError("a name in it is not UTF-8")
    return model


def _legible(message: Any) -> bool:  # noqa: ANN401
    """Whether every text in a message is one: protobuf decodes each only when it is asked for."""
    for field in message.DESCRIPTOR.fields:
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        try:
            value = getattr(message, field.name)
        except UnicodeDecodeError:
            return False
        if field.type == field.TYPE_STRING:
            texts = [value] if isinstance(value, (str, bytes)) else value
            if any(isinstance(text, bytes) for text in texts):
                return False
        elif hasattr(value, "DESCRIPTOR"):
            if message.HasField(field.name) and not _legible(value):
                return False
        elif not all(map(_legible, value)):
            return False
    return True


def _loose(graph: Any, outer: set[str]) -> Iterator[str]:  # noqa: ANN401
    """Tensors that a node or an output needs and that nothing gives: weights that are missing."""
    given = outer | {item.name for item in (*graph.input, *graph.initializer)}
    given |= {item.values.name for item in graph.sparse_initializer}
    given |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name and name not in given:
                yield (
                    f"tensor {name!r}, which node {label(node)} ({node.op_type}) reads, is missing: "
                    "it is no input, no weight and no result; export the graph again with its weights"
                )
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _loose(inner, given)
    for item in graph.output:
        if item.name not in given:
            yield f"its output {item.name!r} is the result of no node; export the graph again"


def _inferred(file: Path, model: Any, graph: Graph) -> Iterator[str]:  # noqa: ANN401
    """What the library's own checker and its inference of types and shapes find wrong."""
    from onnx import checker, shape_inference

    light = _light(file, model)
    if light is None:
        return
    structure = light.SerializeToString()
    try:
        checker.check_model(light)
        wanted = {item.name: list(item.shape) for item in graph.outputs}
        for output in light.graph.output:
            output.type.tensor_type.ClearField("shape")
        known = shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        yield f"is not a valid ONNX graph ({reason(error, str(file))}); export the model again"
        return
    for output in known.graph.output:
        shape = output.type.tensor_type.shape
        known_shape = output.type.tensor_type.HasField("shape")
        if output.name in wanted and known_shape and not _agree(shape, wanted[output.name]):
            yield (
                f"tensor {output.name!r} comes out as {shape_text(shape)}, and vla.json says {wanted[output.name]}; "
                "make vla.json and the graph agree, or export it again"
            )
    yield from _opened(structure)


def _agree(shape: Any, wanted: list[int]) -> bool:  # noqa: ANN401
    """Whether what is known of a shape is what is wanted."""
    sizes = [dim.dim_value for dim in shape.dim]
    return len(sizes) == len(wanted) and all(size in (0, want) for size, want in zip(sizes, wanted, strict=True))


def _opened(structure: bytes) -> Iterator[str]:
    """What ONNX Runtime says of a graph without its weights, where it is installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it says is in the message
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(structure, options, providers=["CPUExecutionProvider"])
    except (state.NotImplemented, state.InvalidGraph) as error:
        yield (
            f"is a graph that ONNX Runtime {onnxruntime.__version__} cannot run ({reason(error)}); export it with "
            "operators and types that it has"
        )


def _light(file: Path, model: Any) -> Any:  # noqa: ANN401
    """The graph without its large weights; small ones are read from their files. None where an attribute has its
    numbers in another file.
    """
    light = skeleton(model, small=partial(_whole, file))
    return None if any(map(external, tensors(light))) else light


def _whole(file: Path, tensor: Any) -> Any:  # noqa: ANN401
    """A small tensor with its numbers, wherever they are."""
    if not external(tensor):
        return tensor
    import onnx

    location, offset = place_of(tensor)
    with (file.parent / location).open("rb") as source:
        source.seek(offset)
        data = source.read(bytes_of(tensor) or 0)
    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=data)
