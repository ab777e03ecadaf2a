"""ONNX Runtime on the CPU, or on CUDA where this build of it has that provider.

The engine is its own optimised model, saved as .onnx: byte-identical every time it is built. Inputs and output are
bound: the output's buffer is made once; on the CPU an input is read where it is, and bound again only when it is
another array. For CUDA, binding is what copies it there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from model_registry.core.contract.graphs import Graph
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError
from model_registry.core.reasons import reason
from stack.engine.backends import BackendIdentity, Job, check_ends
from stack.engine.machine import available_cores
from stack.engine.observing import Tensor

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_GPU: ModuleType | None = None
if _CUDA in onnxruntime.get_available_providers():
    with suppress(ImportError):  # a library built for CUDA runs on a machine without it
        _GPU = importlib.import_module("stack.engine.backends.cuda")
_PROVIDER = _CUDA if _GPU else _CPU
_NOTE = "session.json"
_APART = "session.optimized_model_external_initializers_file_name"
_SMALL = (
    20_000_000  # multiplications in one run; below, a second thread costs more in waking than it saves in computing
)
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)


class OnnxRuntime:
    """An open session."""

    FILE: ClassVar[str] = "engine.onnx"
    device_bytes = 0

    def __init__(self, precision: str) -> None:
        versions = {"onnxruntime": onnxruntime.__version__, "provider": _PROVIDER}
        versions |= {"cuda": _GPU.version()} if _GPU else {}
        self.identity = BackendIdentity("onnxruntime", versions, precision, _GPU.DEVICE if _GPU else {})

    @staticmethod
    def build(job: Job) -> str:
        """Raises HomeportError."""
        from stack.engine import precision
        from stack.engine.backends.graphs import bake, large, read, whole

        model, _ = whole(job)
        note = {"multiplications": precision.multiplications(model)}
        (job.target / _NOTE).write_bytes(dump(note))
        engine = job.target / OnnxRuntime.FILE
        apart = large(model)
        del model  # there may not be room for two
        optimize(bake(job), engine, apart=apart)
        return precision.of_graph(read(engine))

    def load(self, engine: Path, graph: Graph) -> None:
        path = engine / self.FILE
        small = Reader(parse((engine / _NOTE).read_bytes(), _NOTE), _NOTE).integer("multiplications") < _SMALL
        options = _options(1 if small else available_cores())
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = not small
        free = _GPU.free_bytes() if _GPU else 0
        self._session = _open(path, options, "cannot be loaded", "build the engine again")
        inputs, outputs = (
            {item.name: (_DTYPES.get(item.type, item.type), tuple(item.shape)) for item in part}
            for part in (self._session.get_inputs(), self._session.get_outputs())
        )
        check_ends("its graph", graph, inputs, outputs)
        self._binding = self._session.io_binding()
        self._copies = _PROVIDER != _CPU
        self._bound: dict[str, Tensor] = {}
        self._outputs = {item.name: np.zeros(item.shape, dtype=item.dtype) for item in graph.outputs}
        for name, output in self._outputs.items():
            self._binding.bind_output(name, "cpu", 0, output.dtype, output.shape, output.ctypes.data)
        if _GPU:  # memory for a run is taken by the first one
            self.infer({item.name: np.zeros(item.shape, np.dtype(item.dtype)) for item in graph.inputs})
            self.device_bytes = max(0, free - _GPU.free_bytes())

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        for name, value in inputs.items():
            if self._copies or self._bound.get(name) is not value:
                whole = value if value.flags.c_contiguous else value.copy()  # binding would copy it once, in silence
                self._binding.bind_cpu_input(name, whole)
                self._bound[name] = whole
        self._session.run_with_iobinding(self._binding)
        return self._outputs

    def close(self) -> None:
        del self._binding, self._session


def optimize(graph: Path, engine: Path, *, apart: bool) -> None:
    """Write what ONNX Runtime makes of a graph; `apart`: its weights in a file beside it. Raises HomeportError."""
    options = _options(1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(engine)
    if apart:
        options.add_session_config_entry(_APART, f"{engine.name}.data")
    _open(graph, options, "ONNX Runtime cannot build it", "export the model again or choose another precision")


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning burns the cores of the others
    options.log_severity_level = 3
    return options


def _open(graph: Path, options: onnxruntime.SessionOptions, failure: str, remedy: str) -> onnxruntime.InferenceSession:
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=list(dict.fromkeys((_PROVIDER, _CPU))))
    except ERRORS as error:
        raise HomeportError(f"{graph}: {failure} ({reason(error, str(graph))}); {remedy}") from error
    if session.get_providers()[0] != _PROVIDER:  # it falls back in silence
        raise HomeportError(
            f"{graph}: {_PROVIDER} did not start and ONNX Runtime took {session.get_providers()[0]}; {remedy}"
        )
    return session
