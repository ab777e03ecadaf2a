"""Builds a TensorRT engine the one way that TensorRT 10.3 to 11 share: a strongly typed network from a graph that has
its precision in it.

Workspace is at most half of the memory that is free when the build starts; when that is not enough there is exactly one
more try. What the builder timed is kept for the next engine on this device. Nothing here has run on a GPU yet:
docs/hardware-checklist.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import tensorrt as trt

from model_registry.core.errors import HomeportError
from model_registry.core.files import Files
from model_registry.core.reasons import reason
from stack.engine import precision
from stack.engine.backends import Job, cuda

# The last is what is left to say when every tactic was skipped for its memory, which TensorRT only warns of.
_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|insufficient memory|memory ?allocation|requested amount of gpu memory|not find any "
    r"implementation",
    re.I,
)


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps the newest of what TensorRT calls an error, which says why a call gave nothing, and the first complaint
    about memory.
    """

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.error = self.memory = ""

    def log(self, severity: object, msg: str) -> None:
        kinds = trt.ILogger.Severity
        text = reason(msg)
        if severity in (kinds.INTERNAL_ERROR, kinds.ERROR):
            self.error = text
        if severity in (kinds.INTERNAL_ERROR, kinds.ERROR, kinds.WARNING) and _OUT_OF_MEMORY.search(text):
            self.memory = self.memory or text

    @property
    def reason(self) -> str:
        return "; ".join(dict.fromkeys(filter(None, (self.memory, self.error)))) or "TensorRT gave no reason"


class Progress(trt.IProgressMonitor):  # type: ignore[misc]
    """One line for each tenth of each outermost phase."""

    def __init__(self, say: Callable[[str], None]) -> None:
        trt.IProgressMonitor.__init__(self)
        self._say = say
        self._steps: dict[str, int] = {}

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        if parent_phase is None:
            self._steps[phase_name] = num_steps

    def step_complete(self, phase_name: str, step: int) -> bool:
        steps = self._steps.get(phase_name, 0)
        if steps and (step * 10 // steps) != ((step - 1) * 10 // steps):
            self._say(f"{phase_name}: {step} of {steps}.")
        return True

    def phase_finish(self, phase_name: str) -> None:
        self._steps.pop(phase_name, None)


def build(job: Job, graph: Path, target: Path) -> str:
    """Write the engine of `graph` to `target`; the precision that the engine's inspector tells.

    Raises HomeportError.
    """
    plan = b""
    for share in (2, 4):
        free = cuda.free_bytes()
        log = Log()
        workspace = free // share
        if plan := _serialize(job, graph, workspace, log):
            break
        memory = f"workspace {workspace >> 20} MiB, {free >> 20} MiB free"
        if share == 4 or not log.memory:
            raise HomeportError(
                f"{graph}: TensorRT cannot build it with {memory} ({log.reason}); free memory or change the model"
            )
        job.say(f"Out of memory, it seems, with {memory} ({log.reason}); trying once more with half of that workspace.")
    target.write_bytes(plan)
    log = Log()
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    if engine is None:
        raise HomeportError(f"{target}: TensorRT cannot read what it built ({log.reason}); build it again")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return precision.of_engines(text)


def _serialize(job: Job, graph: Path, workspace: int, log: Log) -> bytes:
    """The engine's bytes; none when TensorRT failed."""
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)] or [log.reason]
        raise HomeportError(
            f"{graph}: TensorRT cannot parse it ({reason(reasons[0], str(graph))}); export the model again"
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.builder_optimization_level = int(job.options.get("tensorrt_optimization_level", 3))
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # without it the inspector tells no types
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32
    if hasattr(trt.BuilderFlag, "EDITABLE_TIMING_CACHE"):  # after 10.3
        config.set_flag(trt.BuilderFlag.EDITABLE_TIMING_CACHE)
    kept = job.timing.read_bytes() if job.timing.exists() else b""
    timings = config.create_timing_cache(kept)  # None where they are damaged
    if timings is None or not config.set_timing_cache(timings, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    progress = Progress(job.say)
    config.progress_monitor = progress
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return b""
    Files().write(job.timing, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)
