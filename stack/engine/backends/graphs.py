"""The one graph of a model in the precision of a release: what every backend but `null` builds from."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.checker import ValidationError

from model_registry.core.errors import HomeportError, IncompatibleError
from stack.engine import conversion, precision
from stack.engine.backends import Job
from stack.engine.goldens import read_calibration

_MAX_BYTES = 2_000_000_000  # of one file; what is larger has its weights in another one


def source(job: Job) -> Path:
    """The model's one graph. Raises IncompatibleError when it has another number of them."""
    contract = job.contract
    if len(contract.graphs) != 1:
        raise IncompatibleError(
            f"model {contract.name} {contract.version}: one graph can be built, this model has {len(contract.graphs)}; "
            "export it as one graph"
        )
    return job.model / next(iter(contract.graphs.values()))


def bake(job: Job, *, symmetric: bool = False) -> Path:
    """The path of the graph in `job.precision`: the model's own file when it has that precision already.

    Raises IncompatibleError when it cannot have that precision.
    """
    original = source(job)
    model = read(original)
    have = precision.of_graph(model)
    if have == job.precision:
        return original
    if have != "fp32":
        raise IncompatibleError(
            f"{original}: its graph is {have} and the release asks for {job.precision}; change one of them"
        )
    job.say(f"Converting the graph to {job.precision}.")
    target = job.scratch / "graph.onnx"
    if job.precision == "int8":
        from stack.engine.quantize import quantize

        samples = read_calibration(job.model, job.contract)
        quantize(original, samples, target, symmetric=symmetric, apart=large(model))
    else:
        write(conversion.convert(model, job.precision), target)
    return target


def read(path: Path) -> onnx.ModelProto:
    """A graph with its weights. Raises HomeportError in one line."""
    try:
        return onnx.load(path)
    except (OSError, ValueError, ValidationError, DecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HomeportError(f"{path}: cannot be read as a graph ({reason}); export the model again") from error


def write(model: onnx.ModelProto, path: Path) -> None:
    """Save a graph, its weights in a file beside it where one file cannot hold them."""
    apart = large(model)
    onnx.save(model, path, save_as_external_data=apart, location=f"{path.name}.data" if apart else None)


def large(model: onnx.ModelProto) -> bool:
    """Whether one file may not hold its weights, in whatever precision: where a runtime has no kernel for another, it
    writes float32.
    """
    return bool(4 * sum(math.prod(item.dims) for item in model.graph.initializer) > _MAX_BYTES)
