"""TensorRT 10.3 to 11, native: named tensors, buffers and stream made once, one CUDA context.

Not yet run on a GPU: docs/hardware-checklist.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorrt as trt

from model_registry.core.contract.graphs import Graph
from model_registry.core.errors import HomeportError
from stack.engine.backends import BackendIdentity, Job, check_ends, cuda
from stack.engine.backends.tensorrt_build import Log, build
from stack.engine.observing import Tensor

_DTYPES = {
    trt.DataType.FLOAT: "float32",
    trt.DataType.HALF: "float16",
    trt.DataType.INT64: "int64",
    trt.DataType.INT32: "int32",
    trt.DataType.UINT8: "uint8",
    trt.DataType.BOOL: "bool",
}


class TensorRT:
    """An execution context with its memory. The tensors' addresses are set once, because the buffers never move."""

    FILE: ClassVar[str] = "engine.plan"

    def __init__(self, precision: str) -> None:
        versions = {"tensorrt": trt.__version__, "cuda": cuda.version()}
        self.identity = BackendIdentity("tensorrt", versions, precision, cuda.DEVICE)
        self.device_bytes = 0

    @staticmethod
    def build(job: Job) -> str:
        from stack.engine.backends.graphs import bake

        return build(job, bake(job, symmetric=True), job.target / TensorRT.FILE)

    def load(self, engine: Path, graph: Graph) -> None:
        free = cuda.free_bytes()
        path = engine / self.FILE
        self._log = Log()
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise HomeportError(f"{path}: cannot be loaded ({self._log.reason}); build the engine again")
        check_ends(
            "its engine", graph, *(self._ends(mode) for mode in (trt.TensorIOMode.INPUT, trt.TensorIOMode.OUTPUT))
        )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise HomeportError(f"{path}: no memory to run it ({self._log.reason}); free memory on the device")
        self._stream = cuda.Stream()
        self._inputs = {item.name: cuda.Buffer(item.shape, item.dtype) for item in graph.inputs}
        self._outputs = {
            name: cuda.Buffer(shape, dtype) for name, (dtype, shape) in self._ends(trt.TensorIOMode.OUTPUT).items()
        }
        for name, buffer in (*self._inputs.items(), *self._outputs.items()):
            self._context.set_tensor_address(name, buffer.address)
        self.device_bytes = max(0, free - cuda.free_bytes())

    def _ends(self, mode: object) -> dict[str, tuple[str, tuple[int, ...]]]:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        kinds = {
            name: self._engine.get_tensor_dtype(name) for name in names if self._engine.get_tensor_mode(name) == mode
        }
        return {
            name: (_DTYPES.get(kind, str(kind)), tuple(self._engine.get_tensor_shape(name)))
            for name, kind in kinds.items()
        }

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        for name, value in inputs.items():
            buffer = self._inputs[name]
            np.copyto(buffer.host, value)
            buffer.upload(self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise HomeportError(f"TensorRT: the engine did not run ({self._log.reason}); restart the slot")
        for output in self._outputs.values():
            output.download(self._stream)
        self._stream.wait()
        return {name: output.host for name, output in self._outputs.items()}

    def close(self) -> None:
        for buffer in (*self._inputs.values(), *self._outputs.values()):
            buffer.close()
        self._stream.close()
        del self._context, self._engine, self._runtime
