"""ONNX Runtime on the CPU. The engine is its own optimised model, saved as .onnx: byte-identical every time it is built."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, IncompatibleError
from stack.engine.backends import Backend, Identity, Kind, Options, Tensor

FILE = "engine.onnx"
_PROVIDERS = ["CPUExecutionProvider"]
_SMALL_BYTES = 16 << 20  # below this a second thread costs more in waking than it saves in computing
_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}
_ERRORS = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Whole cores this process may use: the smaller of its affinity and its control group's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.floor(int(quota) / int(period))))


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning burns the cores of the others
    options.log_severity_level = 3
    return options


def build(model: Path, contract: Contract, options: Options, target: Path) -> None:
    """Write the optimised model into the folder `target`. Raises IncompatibleError when there is not exactly one graph."""
    if len(contract.graphs) != 1:
        raise IncompatibleError(
            f"model {contract.name} {contract.version}: onnxruntime builds one graph, this model has {len(contract.graphs)}; "
            "choose another backend or export it as one graph"
        )
    session = _options(1)
    session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session.optimized_model_filepath = str(target / FILE)
    graph = model / next(iter(contract.graphs.values()))
    try:
        onnxruntime.InferenceSession(str(graph), session, providers=_PROVIDERS)
    except _ERRORS as error:
        raise HomeportError(
            f"{graph}: ONNX Runtime cannot build it ({_line(error)}); export the model again"
        ) from error


class OnnxRuntime:
    """An open session. One thread calls `infer` at a time."""

    def __init__(self, precision: str) -> None:
        self._precision = precision
        self._session: onnxruntime.InferenceSession | None = None
        self._outputs: list[str] = []

    @property
    def identity(self) -> Identity:
        return Identity("onnxruntime", {"onnxruntime": onnxruntime.__version__}, self._precision)

    def load(self, engine: Path, contract: Contract) -> None:
        size = (engine / FILE).stat().st_size
        options = _options(1 if size < _SMALL_BYTES else available_cores())
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = size >= _SMALL_BYTES
        try:
            session = onnxruntime.InferenceSession(str(engine / FILE), options, providers=_PROVIDERS)
        except _ERRORS as error:
            raise HomeportError(
                f"{engine / FILE}: cannot be loaded ({_line(error)}); build the engine again"
            ) from error
        _check(session, contract)
        self._session, self._outputs = session, [contract.output]

    def warm_up(self, inputs: Mapping[str, Tensor], runs: int) -> None:
        for _ in range(runs):
            self.infer(inputs)

    def infer(self, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        assert self._session is not None, "load comes first"
        result: NDArray[np.float32] = self._session.run(self._outputs, dict(inputs))[0]
        return result

    def close(self) -> None:
        self._session = None


def _check(session: onnxruntime.InferenceSession, contract: Contract) -> None:
    found = {item.name: (item.type, tuple(item.shape)) for item in session.get_inputs()}
    wanted = {item.name: (_TYPES[item.dtype], item.shape) for item in contract.inputs}
    output = {item.name: (item.type, tuple(item.shape)) for item in session.get_outputs()}
    wanted_output = {contract.output: (_TYPES["float32"], contract.output_shape)}
    for kind, have, want in (("inputs", found, wanted), ("output", output, wanted_output)):
        if {name: have.get(name) for name in want} != want or (kind == "inputs" and set(have) != set(want)):
            raise IncompatibleError(
                f"model {contract.name} {contract.version}: the {kind} of its graph are {have}, vla.json says {want}; pack the model again"
            )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _open(precision: str) -> Backend:
    return OnnxRuntime(precision)


KIND = Kind(open=_open, build=build, file=FILE)
