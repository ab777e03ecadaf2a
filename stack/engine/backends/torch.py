"""PyTorch without a compiler, on the CPU or the first CUDA device.

The engine is the model's graph in the precision of the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from model_registry.core.contract.graphs import Graph
from model_registry.core.errors import IncompatibleError
from stack.engine import precision as precisions
from stack.engine.backends import BackendIdentity, Job, check_ends
from stack.engine.backends.graphs import bake, read, write
from stack.engine.machine import available_cores, driver_release
from stack.engine.observing import Tensor
from stack.engine.onnx_torch import TorchGraph

_DTYPES = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}


def _device() -> dict[str, str]:
    """The GPU by torch's own words, which needs no cuda-python."""
    if not torch.cuda.is_available():
        return {}
    found = torch.cuda.get_device_properties(0)
    memory = f"{round(found.total_memory / 2**30)} GiB"
    driver = driver_release()
    return {"name": found.name, "sm": f"{found.major}{found.minor}", "memory": memory, "driver": driver}


def _ends(graph: Graph) -> tuple[list[str], list[str]]:
    """The names of what a graph takes and gives."""
    return [item.name for item in graph.inputs], [item.name for item in graph.outputs]


class Torch:
    """A module on its device."""

    FILE: ClassVar[str] = "engine.onnx"

    def __init__(self, precision: str) -> None:
        self.identity = BackendIdentity("torch", {"torch": torch.__version__}, precision, _device())
        self.device_bytes = 0

    @staticmethod
    def build(job: Job) -> str:
        """Raises IncompatibleError for int8, which torch would compute in fp32."""
        model = read(bake(job))
        engine = job.target / Torch.FILE
        if job.precision == "int8":
            raise IncompatibleError("torch computes int8 graphs in fp32; choose another backend or precision")
        TorchGraph(model, *_ends(job.graph))  # whether it knows every operator
        write(model, engine)
        return precisions.of_graph(read(engine))

    def load(self, engine: Path, graph: Graph) -> None:
        model = read(engine / self.FILE)
        inputs, outputs = (
            {
                item.name: (
                    _DTYPES.get(item.type.tensor_type.elem_type, "other"),
                    tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim),
                )
                for item in part
            }
            for part in (model.graph.input, model.graph.output)
        )
        check_ends("its graph", graph, inputs, outputs)
        torch.set_num_threads(available_cores())
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = TorchGraph(model, *_ends(graph)).eval().to(self._device)
        self._names = self._module.names
        self.device_bytes = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with torch.inference_mode():
            given = [torch.from_numpy(inputs[name]).to(self._device) for name in self._names]
            results = self._module(*given)
        return {name: result.cpu().numpy() for name, result in zip(self._module.results, results, strict=True)}

    def close(self) -> None:
        del self._module
