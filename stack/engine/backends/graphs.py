"""A graph of a model in the precision of a release: what every backend but `null` builds from."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.checker import ValidationError

from model_registry.core.axes import Ends
from model_registry.core.errors import HomeportError, IncompatibleError
from model_registry.core.onnx_parts import external, tensors
from model_registry.core.reasons import reason
from stack.engine import conversion, precision
from stack.engine.backends import ANY, Job
from stack.engine.calibration import calibration
from stack.engine.machine import saturates

_SMALL = 1024  # bytes of a tensor: below, a graph's own file holds it, where shapes are read from
_MAX_BYTES = 2_000_000_000  # of one file; what is larger has its weights in another one


def bake(job: Job, *, symmetric: bool = False) -> Path:
    """The path of the graph in `job.precision`: the model's own file when it has that precision already and a runtime
    reads it as it is; else one in the job's scratch folder.

    Raises IncompatibleError when it cannot have that precision.
    """
    original = job.model / job.graph.path
    model, fixed = whole(job)
    have = precision.of_graph(model)
    if have == ANY:
        have = job.precision
    target = job.scratch / "graph.onnx"
    as_it_is = not fixed and alone(original, model)
    if have == job.precision and as_it_is:
        return original
    if not as_it_is and (have == job.precision or job.precision == "int8"):
        job.say("Writing the graph with its weights and the sizes of its axes.")
        original = job.scratch / "whole.onnx"
        write(model, original)
    if have == job.precision:
        return original
    if have != "fp32":
        raise IncompatibleError(
            f"{original}: its graph is {have} and the release asks for {job.precision}; change one of them"
        )
    job.say(f"Converting the graph to {job.precision}.")
    if job.precision == "int8":
        from stack.engine.quantize import quantize

        samples = calibration(job.model, job.contract, job.graph)
        narrow = not symmetric and saturates()
        quantize(original, samples, target, symmetric=symmetric, narrow=narrow, apart=large(model))
    else:
        write(conversion.convert(model, job.precision), target)
    return target


def whole(job: Job) -> tuple[onnx.ModelProto, bool]:
    """The graph with its weights, and whether axes without a size got the contract's.

    Raises IncompatibleError when what it takes or gives is not what the contract says.
    """
    path = job.model / job.graph.path
    model = read(path)
    ends = Ends(model)
    ends.hold(job.graph)
    if ends.faults:
        raise IncompatibleError(f"{path}: {ends.faults[0]}")
    return model, bool(ends.fixed)


def read(path: Path) -> onnx.ModelProto:
    """A graph with its weights. Raises HomeportError in one line."""
    try:
        return onnx.load(path)
    except (OSError, ValueError, ValidationError, DecodeError) as error:
        why = reason(error, str(path))
        raise HomeportError(f"{path}: cannot be read as a graph ({why}); export the model again") from error


def alone(path: Path, model: onnx.ModelProto) -> bool:
    """Whether a runtime builds an engine from this file that needs nothing of the model's folder.

    ONNX Runtime leaves in the model's own files what it finds there, unless it is told to write large weights apart;
    and it reads no shape from another file. `model` is the same graph with its weights.
    """
    skeleton = onnx.load(path, load_external_data=False)
    apart = [tensor for tensor in tensors(skeleton) if external(tensor)]
    if not apart:
        return True
    return large(model) and all(tensor_bytes(tensor) >= _SMALL for tensor in apart)


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """How many bytes the numbers of a tensor take."""
    size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(math.prod(tensor.dims) * size)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Save a graph, its weights in a file beside it where one file cannot hold them."""
    apart = large(model)
    onnx.save(model, path, save_as_external_data=apart, location=f"{path.name}.data" if apart else None)


def large(model: onnx.ModelProto) -> bool:
    """Whether one file may not hold its weights, in whatever precision: where a runtime has no kernel for another, it
    writes float32.
    """
    return bool(4 * sum(math.prod(item.dims) for item in model.graph.initializer) > _MAX_BYTES)
