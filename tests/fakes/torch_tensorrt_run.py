"""Our Torch-TensorRT backend without torch: what configures a builder is the library's own source, on recording
objects. Part of tensorrt_run.py.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from packaging import version

from tests.fakes.jobs import make_job
from tests.fakes.tensorrt_wheels import parameters

METHODS = ("_populate_trt_builder_config", "_create_timing_cache", "_save_timing_cache")
DAMAGED = b"half of some timings"
NAMES_ONLY = {"Layers": ["a layer by its name alone", "another one"]}


class Settings(SimpleNamespace):
    """What was given to `compile`; what was not is off."""

    def __getattr__(self, name: str) -> None:
        return None


def interpreter(wheel: Path, trt: Any, write: Callable[[Any], bytes]) -> Any:
    """The library's class that builds engines, with those of its methods that need neither torch nor a GPU."""
    source = wheel / "torch_tensorrt/dynamo/conversion/_TRTInterpreter.py"
    future, *_ = ast.parse("from __future__ import annotations").body
    found = next(
        node
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "TRTInterpreter"
    )
    found.bases, found.decorator_list = [], []
    found.body = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name in METHODS]
    known = {
        "trt": trt,
        "os": os,
        "version": version,
        "memoryview": write,
        "dtype": SimpleNamespace(float16=16, bfloat16=17, int8=8, fp8=9),
        "ENABLED_FEATURES": SimpleNamespace(native_trt_collectives=False, tensorrt_rtx=False),
        "is_tensorrt_version_supported": lambda text: version.parse(trt.__version__) >= version.parse(text),
        "_LOGGER": logging.getLogger("torch_tensorrt"),
    }
    exec(compile(ast.Module([future, found], []), str(source), "exec"), known)
    return known["TRTInterpreter"]


class Library(ModuleType):
    """Stands for `torch_tensorrt`. `tells` is what an inspector says of an engine that was built with all details."""

    def __init__(self, wheel: Path, trt: Any, log: Any, tells: dict[str, Any]) -> None:
        super().__init__("torch_tensorrt")
        self._trt, self._log, self.tells, self.dies = trt, log, tells, False
        self.works = interpreter(wheel, trt, self.written)
        self.__version__ = (wheel / "torch_tensorrt/_version.py").read_text().split('"')[1]
        self.dynamo = SimpleNamespace(
            conversion=SimpleNamespace(TRTInterpreter=self.works), compile=lambda *given, **named: self.make(**named)
        )
        takes = parameters(wheel, "dynamo/_compiler.py", "compile")
        self.dynamo.compile.__signature__ = Signature(
            [Parameter(name, Parameter.KEYWORD_ONLY) for name in sorted(takes)]
        )

    def written(self, timings: Any) -> bytes:
        """What is written into the timing cache, whose file is open and empty."""
        if self.dies:
            raise SystemExit("killed")
        return bytes(timings)

    def make(self, timing_cache_path: str, **options: Any) -> Any:
        """As `TRTInterpreter.run` does, without a network."""
        given: dict[str, Any] = {**options, "device": SimpleNamespace(device_type=self._trt.DeviceType.GPU)}
        made = self.works()
        made.builder, made._debugger_config, made.optimization_profiles = self._trt.Builder(self._log), None, None
        made.compilation_settings = Settings(
            **given,
            engine_capability=SimpleNamespace(to=lambda kinds: kinds.STANDARD),
            num_avg_timing_iters=1,
            enabled_precisions=(),
            immutable_weights=True,
            tiling_optimization_level="none",
            l2_limit_for_tiling=-1,
        )
        config = made._populate_trt_builder_config()
        made._create_timing_cache(config, timing_cache_path)
        made._save_timing_cache(config, timing_cache_path)
        detailed = config._set["profiling_verbosity"] == self._trt.ProfilingVerbosity.DETAILED
        engine = SimpleNamespace(get_layer_info=lambda: json.dumps(self.tells if detailed else NAMES_ONLY))
        return SimpleNamespace(modules=lambda: [SimpleNamespace(), engine])

    def save(self, compiled: Any, path: str, arg_inputs: list[Any]) -> None:
        Path(path).write_bytes(b"a program")


class Module:
    """Stands for a torch module."""

    def __init__(self, *given: Any) -> None: ...

    def eval(self) -> Module:
        return self

    cuda = eval


def run(wheel: Path, trt: Any, log: Any, model: Path, folder: Path, tells: dict[str, Any]) -> dict[str, Any]:
    from model_registry.core.errors import HomeportError

    torch, graphs, library = ModuleType("torch"), ModuleType("stack.engine.onnx_torch"), Library(wheel, trt, log, tells)
    torch.__version__, torch.float32, torch.int64 = "2.0", "float", "long"  # type: ignore[attr-defined]
    torch.zeros = lambda shape, dtype, device: (shape, dtype)  # type: ignore[attr-defined]
    torch.export = SimpleNamespace(export=lambda module, examples: (module, examples))  # type: ignore[attr-defined]
    graphs.TorchGraph = Module  # type: ignore[attr-defined]
    sys.modules.update({"torch": torch, "torch_tensorrt": library, graphs.__name__: graphs})
    from stack.engine.backends.torch_tensorrt import TorchTensorRT

    job, before = make_job(model, folder, "fp16"), library.works._populate_trt_builder_config
    result: dict[str, Any] = {"precision": TorchTensorRT.build(job)}
    result["restored"] = library.works._populate_trt_builder_config is before
    result["timing"] = [job.timing.read_text()]
    job.timing.write_bytes(DAMAGED)
    result["timing"] += [TorchTensorRT.build(job), job.timing.read_text()]
    library.dies = True
    with suppress(SystemExit):
        TorchTensorRT.build(job)
    result["timing"].append(job.timing.read_text())
    library.dies, library.tells = False, NAMES_ONLY
    try:
        result["unread"] = TorchTensorRT.build(job)
    except HomeportError as error:
        result["unread"] = str(error)
    result["identity"] = TorchTensorRT("fp16").identity.versions
    return result
