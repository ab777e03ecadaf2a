"""A model's graphs as they were packed, run by ONNX Runtime on the CPU: for a desk, where no engine is built.

Checking, evaluating, choosing int8 scales and making goldens all use it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph
from model_registry.core.errors import HomeportError
from model_registry.core.reasons import reason
from stack.engine.backends import BackendIdentity
from stack.engine.backends.onnxruntime import ERRORS
from stack.engine.inference import Inference
from stack.engine.observing import Tensor
from stack.engine.wiring import Wired

_RUNNING: tuple[type[Exception], ...] = (*ERRORS, ValueError)


class Packed:
    """One graph. With `watched`, `seen` has a copy of what it was given by each call."""

    device_bytes = 0

    def __init__(self, model: Path, graph: Graph, *, watched: bool = False, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it says is in the message
        options.intra_op_num_threads = threads
        path = model / graph.path
        try:
            self._session = _open(path, options)
        except ERRORS as error:
            raise HomeportError(
                f"{path}: ONNX Runtime cannot open it ({reason(error, str(path))}); export the model again"
            ) from error
        self._path = path
        self._names = [item.name for item in graph.outputs]
        self._watched = watched
        self.seen: list[dict[str, Tensor]] = []
        self.identity = BackendIdentity("onnxruntime", {"onnxruntime": onnxruntime.__version__}, "fp32")

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self._watched:
            self.seen.append({name: value.copy() for name, value in inputs.items()})
        try:
            results = self._session.run(self._names, dict(inputs))
        except _RUNNING as error:
            raise HomeportError(f"{self._path}: cannot be run ({reason(error)}); export the model again") from error
        return dict(zip(self._names, results, strict=True))

    def close(self) -> None:
        del self._session


def _open(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """A session of a graph; one that the runtime cannot read shapes of, because they lie in another file, as a whole.

    Raises one of ERRORS.
    """
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except ERRORS:
        if importlib.util.find_spec("onnx") is None:
            raise
        from stack.engine.backends.graphs import large, read

        model = read(path)
        if large(model):
            raise
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def packed(model: Path, contract: Contract, threads: int = 1) -> Inference:
    """The whole model of a folder, from raw observations to actions in units. Raises HomeportError."""
    runners = {graph.id: Packed(model, graph, threads=threads) for graph in contract.graphs}
    return Inference(model, contract, Wired(contract, runners))
