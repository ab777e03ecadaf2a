"""ONNX Runtime on the CPU. The engine is its own optimised model, saved as .onnx: byte-identical every time it is built."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, IncompatibleError
from stack.engine.backends import Identity, Options, Tensor

_SMALL_BYTES = 16 << 20  # below this a second thread costs more in waking than it saves in computing
_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}
_ERRORS = tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Whole cores this process may use: the smaller of its affinity and its control group's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.floor(int(quota) / int(period))))


class OnnxRuntime:
    """An open session."""

    FILE: ClassVar[str] = "engine.onnx"

    def __init__(self, precision: str) -> None:
        self.identity = Identity("onnxruntime", {"onnxruntime": onnxruntime.__version__}, precision)

    @staticmethod
    def build(model: Path, contract: Contract, options: Options, target: Path) -> None:
        """Raises IncompatibleError when there is not exactly one graph."""
        if len(contract.graphs) != 1:
            raise IncompatibleError(
                f"model {contract.name} {contract.version}: onnxruntime builds one graph, this model has {len(contract.graphs)}; "
                "choose another backend or export it as one graph"
            )
        session = _options(1)
        session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session.optimized_model_filepath = str(target / OnnxRuntime.FILE)
        graph = model / next(iter(contract.graphs.values()))
        _open(graph, session, "ONNX Runtime cannot build it", "export the model again")

    def load(self, engine: Path, contract: Contract) -> None:
        path = engine / self.FILE
        size = path.stat().st_size
        options = _options(1 if size < _SMALL_BYTES else available_cores())
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = size >= _SMALL_BYTES
        self._session = _open(path, options, "cannot be loaded", "build the engine again")
        _check(self._session, contract)
        self._outputs = [contract.output]

    def infer(self, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = self._session.run(self._outputs, dict(inputs))[0]
        return result


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
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise HomeportError(f"{graph}: {failure} ({' '.join(str(error).split())[:200]}); {remedy}") from error


def _check(session: onnxruntime.InferenceSession, contract: Contract) -> None:
    found = {item.name: (item.type, tuple(item.shape)) for item in session.get_inputs()}
    wanted = {item.name: (_TYPES[item.dtype], item.shape) for item in contract.inputs}
    output = {item.name: (item.type, tuple(item.shape)) for item in session.get_outputs()}
    wanted_output = {contract.output: (_TYPES["float32"], contract.output_shape)}
    for kind, have, want in (("inputs", found, wanted), ("output", output, wanted_output)):
        # A graph may give more than is used, and must take exactly what it is given.
        if have != want and (kind == "inputs" or have.get(contract.output) != want[contract.output]):
            raise IncompatibleError(
                f"model {contract.name} {contract.version}: the {kind} of its graph are {have}, vla.json says {want}; pack the model again"
            )
