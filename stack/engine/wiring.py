"""The graphs of a model as one: each in an engine of its own, wired by the names of their tensors, with the loop.

What a graph gives is kept until something that it reads is new. So the graphs of a command cost one inference a
command, however many frames it is followed for, those of a frame one a frame, and those of a step one a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import COMMAND, STEP, TIME, Graph, Loop, X
from stack.engine.backends import ANY, Backend, BackendIdentity, Job, Runner
from stack.engine.cache import Cache
from stack.engine.observing import Tensor

KEPT = 16


def build(kind: type[Backend], job: Job) -> str:
    """Make the engine of each graph in a folder called like it; their precision, when it is the same for all.

    The job's own graph is not looked at. Raises HomeportError.
    """
    built = []
    for graph in job.contract.graphs:
        target = job.target / graph.id
        scratch = job.scratch / graph.id
        target.mkdir()
        scratch.mkdir()
        built.append(kind.build(replace(job, graph=graph, target=target, scratch=scratch)))
    told = [precision for precision in built if precision != ANY]
    return " and ".join(dict.fromkeys(told)) or job.precision


def load(kind: type[Backend], precision: str, engine: Path, contract: Contract, kept: int = KEPT) -> Wired:
    """Open what `build` made; what the graphs of a command give is kept for `kept` commands. Raises HomeportError."""
    runners = {}
    for graph in contract.graphs:
        runner = kind(precision)
        runner.load(engine / graph.id, graph)
        runners[graph.id] = runner
    return Wired(contract, runners, kept)


class Wired:
    """Runs all graphs of a model. `cache` has what the graphs of a command gave for the last ones, if there are any."""

    def __init__(self, contract: Contract, runners: Mapping[str, Runner], kept: int = KEPT) -> None:
        self._runners = runners
        self._graphs = contract.graphs
        self._command = [graph for graph in contract.graphs if graph.runs == COMMAND]
        self._frame = [graph for graph in contract.graphs if graph.runs not in (COMMAND, STEP)]
        self._step = [graph for graph in contract.graphs if graph.runs == STEP]
        self._loop = contract.loop
        self._output = contract.output
        self._words = sorted({item.source for graph in self._command for item in graph.inputs} & set(contract.sources))
        self._given: dict[str, Tensor] = {}
        self.cache: Cache[Any, dict[str, Tensor]] | None = Cache(self._understand, kept) if self._command else None
        self.identity: BackendIdentity = runners[contract.graphs[-1].id].identity

    @property
    def device_bytes(self) -> int:
        return sum(runner.device_bytes for runner in self._runners.values())

    def infer(self, sources: Mapping[str, Tensor]) -> NDArray[np.float32]:
        """The tensor of every source -> rows [steps, columns] of the output, not yet in units; the caller's own."""
        values = dict(sources)
        if self.cache is not None:
            self._given = values
            values |= self.cache(b"".join(values[name].tobytes() for name in self._words))
        self._run(self._frame, values)
        if self._loop is not None:
            values[X] = self._denoise(self._loop, values)
        result = values[self._output.source]
        return result.reshape(-1, result.shape[-1]).astype(np.float32)

    def _understand(self, words: bytes) -> dict[str, Tensor]:
        """What the graphs of a command give for the words and goal that `infer` was called with."""
        values = dict(self._given)
        names = self._run(self._command, values)
        return {name: values[name].copy() for name in names}

    def _run(self, graphs: Sequence[Graph], values: dict[str, Tensor]) -> list[str]:
        """Run graphs in order and add what they give to `values`; the names of that."""
        made = []
        for graph in graphs:
            inputs = {item.name: _shaped(values[item.source], item.shape) for item in graph.inputs}
            for name, tensor in self._runners[graph.id].infer(inputs).items():
                values[f"{graph.id}.{name}"] = tensor
                made.append(f"{graph.id}.{name}")
        return made

    def _denoise(self, loop: Loop, values: dict[str, Tensor]) -> Tensor:
        """From noise to actions. `x` and `time` stay in the same arrays: a graph may keep where they are."""
        x = values["noise"].copy()
        time = np.zeros(1, loop.time_dtype)
        values |= {X: x, TIME: time}
        for number in range(loop.steps):
            time[0] = loop.times[number]
            self._run(self._step, values)
            v = values[loop.v].reshape(x.shape)
            x[...] = euler(loop, number, x, v) if loop.method == "euler" else ddim(loop, number, x, v)
        return x

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()


def euler(loop: Loop, number: int, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """One step of Euler's method: x + dt · v, in float32."""
    dt = np.float32(loop.times[number + 1] - loop.times[number])
    result: NDArray[Any] = x + dt * v
    return result


def ddim(loop: Loop, number: int, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """One step of DDIM without new noise (Song et al., 2020, equation 12 with σ = 0)."""
    now, after = (np.float32(loop.alphas[index]) for index in (number, number + 1))
    one = np.float32(1)
    if loop.prediction == "epsilon":
        taken_for: Any = (x - np.sqrt(one - now) * v) / np.sqrt(now)
        noise: Any = v
    else:
        taken_for = v
        noise = (x - np.sqrt(now) * v) / np.sqrt(one - now)
    if loop.clip is not None:
        taken_for = np.clip(taken_for, -np.float32(loop.clip), np.float32(loop.clip))
    result: NDArray[Any] = np.sqrt(after) * taken_for + np.sqrt(one - after) * noise
    return result


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same numbers in another shape; the same object where it has that shape, so that it need not be bound anew."""
    return tensor if tensor.shape == shape else tensor.reshape(shape)
