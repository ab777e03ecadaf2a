"""Torch-TensorRT: the model's graph as a torch module, exported, compiled as a whole, saved.

Not yet run on a GPU: docs/hardware-checklist.md.

Its file is opened only after its digest matched the one that was noted when this device built it: torch unpickles what
is in it.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorrt as trt
import torch
import torch_tensorrt

from model_registry.core.contract.graphs import Graph
from model_registry.core.errors import HomeportError, IncompatibleError
from model_registry.core.files import Files
from model_registry.core.reasons import reason
from stack.engine import precision
from stack.engine.backends import BackendIdentity, Job, check_ends, cuda
from stack.engine.backends.graphs import bake, read
from stack.engine.observing import Tensor
from stack.engine.onnx_torch import TorchGraph

_TIMINGS = "timing.cache"  # a copy, because the library writes it in place


def compile_options(job: Job, workspace: int, known: Collection[str]) -> dict[str, object]:
    """For `torch_tensorrt.dynamo.compile`, which takes the parameters `known`: whole graph, types as they are, nothing
    below /tmp.
    """
    options: dict[str, object] = {
        "device": "cuda:0",
        "require_full_compilation": True,
        "min_block_size": 1,
        "disable_tf32": True,
        "workspace_size": workspace,
        "optimization_level": int(job.options.get("torch_tensorrt_optimization_level", 3)),
        "timing_cache_path": str(job.scratch / _TIMINGS),
        "engine_cache_dir": str(job.scratch / "engines"),
        "cache_built_engines": False,
        "reuse_cached_engines": False,
    }
    if "use_explicit_typing" in known:  # from 2.13 on there is nothing else
        options["use_explicit_typing"] = True
    return options


@contextmanager
def configured(timings: Path) -> Iterator[None]:
    """Engines that are built meanwhile tell their layers' types, where the library has them keep names unless its
    debugger is on, which does more.

    Damaged `timings` are taken away, which the library would fail on.
    """
    kind = torch_tensorrt.dynamo.conversion.TRTInterpreter
    configure = kind._populate_trt_builder_config

    def detailed(*given: object, **named: object) -> object:
        config = configure(*given, **named)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if timings.exists() and config.create_timing_cache(timings.read_bytes()) is None:
            timings.unlink()
        return config

    kind._populate_trt_builder_config = detailed
    try:
        yield
    finally:
        kind._populate_trt_builder_config = configure


class TorchTensorRT:
    """A compiled module on the first CUDA device."""

    FILE: ClassVar[str] = "engine.ep"

    def __init__(self, precision: str) -> None:
        parts = {"torch_tensorrt": torch_tensorrt, "torch": torch, "tensorrt": trt}
        versions = {**{name: part.__version__ for name, part in parts.items()}, "cuda": cuda.version()}
        self.identity = BackendIdentity("torch_tensorrt", versions, precision, cuda.DEVICE)
        self.device_bytes = 0

    @staticmethod
    def build(job: Job) -> str:
        if job.precision == "int8":
            raise IncompatibleError(
                "torch_tensorrt: int8 is built by the backend tensorrt; choose it, or another precision"
            )
        names = [item.name for item in job.graph.inputs]
        results = [item.name for item in job.graph.outputs]
        module = TorchGraph(read(bake(job)), names, results).eval().cuda()
        kinds = ((item.shape, getattr(torch, item.dtype)) for item in job.graph.inputs)
        examples = tuple(torch.zeros(shape, dtype=dtype, device="cuda") for shape, dtype in kinds)
        program = torch.export.export(module, examples)
        known = inspect.signature(torch_tensorrt.dynamo.compile).parameters
        options = compile_options(job, cuda.free_bytes() // 2, known)
        timings = job.scratch / _TIMINGS
        if job.timing.exists():
            shutil.copyfile(job.timing, timings)
        try:
            with configured(timings):
                compiled = torch_tensorrt.dynamo.compile(program, inputs=list(examples), **options)
        except (RuntimeError, AssertionError, AttributeError, ValueError) as error:
            raise HomeportError(f"torch_tensorrt cannot build it ({reason(error)}); choose another backend") from error
        if timings.exists():
            Files().write(job.timing, timings.read_bytes())
        torch_tensorrt.save(compiled, str(job.target / TorchTensorRT.FILE), arg_inputs=list(examples))
        engines = [part for part in compiled.modules() if hasattr(part, "get_layer_info")]
        return precision.of_engines(*(part.get_layer_info() for part in engines))

    def load(self, engine: Path, graph: Graph) -> None:
        free = cuda.free_bytes()
        path = engine / self.FILE
        try:
            self._module = torch_tensorrt.load(str(path)).module()
        except (RuntimeError, ValueError) as error:
            why = reason(error, str(path))
            raise HomeportError(f"{path}: cannot be loaded ({why}); build the engine again") from error
        self._names = [item.name for item in graph.inputs]
        self._results = [item.name for item in graph.outputs]
        given = self.infer({item.name: np.zeros(item.shape, np.dtype(item.dtype)) for item in graph.inputs})
        inputs = {item.name: (item.dtype, item.shape) for item in graph.inputs}
        outputs = {name: (str(value.dtype), value.shape) for name, value in given.items()}
        check_ends("its program", graph, inputs, outputs)
        self.device_bytes = max(0, free - cuda.free_bytes())

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with torch.inference_mode():
            given = [torch.from_numpy(inputs[name]).cuda(non_blocking=True) for name in self._names]
            results = self._module(*given)
        return {name: result.cpu().numpy() for name, result in zip(self._results, results, strict=True)}

    def close(self) -> None:
        del self._module
