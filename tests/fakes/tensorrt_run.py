"""Run our TensorRT builder and runner against recording objects of the TensorRT in PYTHONPATH; prints what was checked,
as JSON.

`python -m tests.fakes.tensorrt_run MODEL FOLDER`, in a process of its own: its libraries are stubs.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import torch_tensorrt_run
from tests.fakes.cudart import Runtime
from tests.fakes.jobs import make_job
from tests.fakes.surface import Module, Surface

ENDS = {"image": (1, 3, 112, 112), "tokens": (1, 10), "lidar": (1, 90), "action": (1, 8, 2)}
PLAN = b"plan of the engine"
INSPECTED = {
    "Layers": [
        {"LayerType": "CaskConvolution", "Weights": {"Type": "Half", "Count": 900}, "Outputs": []},
        {"LayerType": "Reformat", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
        "a layer by its name alone",
    ]
}


class Gpu:
    """Answers as a GPU would: out of memory at first, then an engine that adds up its inputs."""

    def __init__(self, real: Any) -> None:
        self.real, self.builds, self.addresses, self.starved = real, 0, {}, False
        self.asked: dict[str, list[Any]] = {name: [] for name in ("network", "cleared", "workspace", "timing")}
        names, types = list(ENDS), real.DataType
        self.answers: dict[str, Any] = {
            "Builder.create_network": self.network,
            "IBuilderConfig.clear_flag": lambda config, flag: self.asked["cleared"].append(flag.name),
            "IBuilderConfig.set_memory_pool_limit": self.limit,
            "IBuilderConfig.create_timing_cache": self.timings,
            "Builder.build_serialized_network": self.build,
            "IHostMemory.nbytes": PLAN,
            "EngineInspector.get_engine_information": json.dumps(INSPECTED),
            "ICudaEngine.num_io_tensors": len(names),
            "ICudaEngine.get_tensor_name": lambda engine, index: names[index],
            "ICudaEngine.get_tensor_shape": lambda engine, name: ENDS[name],
            "ICudaEngine.get_tensor_dtype": lambda engine, name: types.INT64 if name == "tokens" else types.FLOAT,
            "ICudaEngine.get_tensor_mode": lambda engine, name: (
                real.TensorIOMode.OUTPUT if name == "action" else real.TensorIOMode.INPUT
            ),
            "IExecutionContext.set_tensor_address": self.place,
            "IExecutionContext.execute_async_v3": self.execute,
        }

    def network(self, builder: Any, flags: int) -> Any:
        self.asked["network"].append(flags)
        return self.surface.give("", "INetworkDefinition", ())

    def limit(self, config: Any, pool: Any, size: int) -> None:
        self.asked["workspace"].append([pool.name, size >> 20])

    def timings(self, config: Any, kept: bytes) -> Any:
        self.asked["timing"].append(kept.decode())
        if kept == torch_tensorrt_run.DAMAGED:
            return None
        return self.surface.give("", "ITimingCache", ())

    def build(self, builder: Any, network: Any, config: Any) -> Any:
        self.builds += 1
        monitor = config._set["progress_monitor"]
        monitor.phase_start("Building", None, 20)
        monitor.phase_start("Tactics", "Building", 5)
        for step in range(20):
            assert monitor.step_complete("Building", step) is True
            assert monitor.step_complete("Tactics", step) is True
        monitor.phase_finish("Building")
        if self.builds == 1 or self.starved:
            kinds = self.real.ILogger.Severity  # as builders do: the cause is a warning, and the error names another
            self.log.log(kinds.WARNING, "Skipping tactic 3 due to insufficient memory on requested size of 9 bytes")
            self.log.log(kinds.ERROR, "Error Code 10: Could not find any implementation for node Conv_7")
            return None
        return self.surface.give("", "IHostMemory", ())

    def place(self, context: Any, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute(self, context: Any, stream: int) -> bool:
        read = {
            name: ctypes.cast(address, ctypes.POINTER(ctypes.c_int64 if name == "tokens" else ctypes.c_float))
            for name, address in self.addresses.items()
        }
        total = read["image"][0] + read["tokens"][0] + read["lidar"][0]
        for index in range(16):
            read["action"][index] = total
        return True


def failures(gpu: Gpu, job: Any, backend: Any, given: dict[str, Any]) -> dict[str, str]:
    """Our words for what TensorRT refuses."""
    from dataclasses import replace

    from model_registry.core.errors import HomeportError

    errors: dict[str, str] = {}

    def expect(name: str, work: Any, **answers: Any) -> None:
        before = dict(gpu.answers)
        gpu.answers.update({key.replace("__", "."): value for key, value in answers.items()})
        try:
            work()
        except HomeportError as error:
            errors[name] = str(error)
        finally:
            gpu.answers.clear()
            gpu.answers.update(before)

    kind, other = type(backend), type(backend)("fp16")
    gpu.starved, builds = True, gpu.builds
    expect("starved", lambda: kind.build(job))
    errors["starved_tries"] = str(gpu.builds - builds)
    gpu.starved = False
    bad = {"ParserError__desc": "node 7 is odd", "OnnxParser__num_errors": 1, "OnnxParser__parse_from_file": False}
    expect("parse", lambda: kind.build(job), **bad)
    expect("other", lambda: kind.build(job), Builder__build_serialized_network=lambda *_: None)
    expect("foreign", lambda: other.load(job.target, job.graph), Runtime__deserialize_cuda_engine=None)
    wrong = replace(job.graph, outputs=(replace(job.graph.outputs[0], shape=(1, 8, 3)),))
    expect("contract", lambda: other.load(job.target, wrong))
    silent = json.dumps({"Layers": ["a layer by its name alone"]})
    expect("unread", lambda: kind.build(job), EngineInspector__get_engine_information=silent)
    expect("run", lambda: backend.infer(given), IExecutionContext__execute_async_v3=False)
    return errors


def main(model: Path, folder: Path) -> dict[str, Any]:
    real = importlib.import_module("tensorrt_bindings")
    gpu = Gpu(real)
    gpu.surface = Surface(real, gpu.answers, ("ILogger", "IProgressMonitor"))
    runtime = Runtime(importlib.import_module("cuda.bindings.runtime"))
    sys.modules["tensorrt"], sys.modules["cuda.bindings.runtime"] = Module(gpu.surface), runtime
    sys.modules["cuda.bindings"].runtime = runtime
    from stack.engine.backends import tensorrt, tensorrt_build
    from stack.engine.backends.tensorrt import TensorRT

    class Log(tensorrt_build.Log):
        def __init__(self) -> None:
            super().__init__()
            gpu.log = self

    tensorrt.Log = tensorrt_build.Log = Log
    said: list[str] = []
    job = make_job(model, folder, "fp16", said)
    precision = TensorRT.build(job)
    again = TensorRT.build(job)  # with the timing cache that the first one kept
    asked = {name: list(each) for name, each in gpu.asked.items()}
    backend = TensorRT("fp16")
    backend.load(job.target, job.graph)
    made = runtime.made
    given = {name: np.ones(shape, np.int64 if name == "tokens" else np.float32) for name, shape in ENDS.items()}
    del given["action"]
    outputs = [
        float(backend.infer(given)["action"][0, 0, 0]),
        float(backend.infer({**given, "image": given["image"] * 5})["action"][0, 0, 0]),
    ]
    held, made = backend.device_bytes, runtime.made - made
    builds, heard = gpu.builds, list(said)
    job.timing.write_bytes(torch_tensorrt_run.DAMAGED)
    damaged = [TensorRT.build(job), *gpu.asked["timing"][-2:], job.timing.read_text()]
    errors = failures(gpu, job, backend, given)
    backend.close()
    return {
        "version": real.__version__,
        "precision": [precision, again],
        "builds": builds,
        "said": heard,
        "outputs": outputs,
        "held": held,
        "made_to_infer": made,
        "asked": asked,
        "strong": 1 << int(real.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
        "errors": errors,
        "leaked": len(runtime._memory) + runtime.live,
        "damaged": damaged,
        "timing": job.timing.read_bytes().decode(),
        "identity": [backend.identity.versions, backend.identity.device],
        "torch": torch_tensorrt_run.run(
            Path(real.__file__).parents[1], sys.modules["tensorrt"], gpu.log, model, folder / "torch", INSPECTED
        ),
        "checked": sorted(gpu.surface.used | runtime.used),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
