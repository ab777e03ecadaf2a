"""Run what an export made in ONNX Runtime, with its loop written out in numpy, between LeRobot's own pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from model_registry.core.contract.graphs import Loop
from stack.importers.lerobot.exported import STEP, Exported, ExportedGraph
from stack.importers.lerobot.goldens import RawObservation, actions, prepared
from stack.importers.lerobot.loading import LoadedPolicy

Tensors = dict[str, NDArray[Any]]


class ExportedPolicy:
    """Sessions of all graphs in `folder`."""

    def __init__(self, exported: Exported, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.exported = exported
        self.sessions = {
            graph.id: onnxruntime.InferenceSession(folder / graph.path, options, providers=["CPUExecutionProvider"])
            for graph in exported.graphs
        }

    def chunk(self, sources: Tensors) -> NDArray[Any]:
        """Normalised actions [1, rows, dims] from the tensor of every source."""
        values = dict(sources)
        steps = [graph for graph in self.exported.graphs if graph.runs == STEP]
        for graph in self.exported.graphs:
            if graph.runs != STEP:
                self._run(graph, values)
        if self.exported.loop is not None:
            self._loop(self.exported.loop, steps, values)
        output = self.exported.output
        return values[output.source][:, output.first : output.first + output.rows, list(output.columns)]

    def _run(self, graph: ExportedGraph, values: Tensors) -> None:
        feeds = {tensor.name: values[graph.sources[tensor.name]] for tensor in graph.inputs}
        names = [tensor.name for tensor in graph.outputs]
        results = self.sessions[graph.id].run(names, feeds)
        values |= {f"{graph.id}.{name}": result for name, result in zip(names, results, strict=True)}

    def _loop(self, loop: Loop, steps: list[ExportedGraph], values: Tensors) -> None:
        x = values["noise"].astype(np.float32)
        for number in range(len(loop.times) - (loop.method == "euler")):
            values |= {"x": x, "time": np.array([loop.times[number]], loop.time_dtype)}
            for graph in steps:
                self._run(graph, values)
            v = values[loop.v]
            if loop.method == "euler":
                x = x + np.float32(loop.times[number + 1] - loop.times[number]) * v
            else:
                x = ddim(loop, number, x, v)
        values["x"] = x


def ddim(loop: Loop, number: int, x: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    """One step without new noise: Song et al., 2020, equation 12 with σ = 0."""
    now = np.float32(loop.alphas[number])
    then = np.float32(loop.alphas[number + 1])
    clean = (x - np.sqrt(1 - now) * v) / np.sqrt(now) if loop.prediction == "epsilon" else v
    noise = v if loop.prediction == "epsilon" else (x - np.sqrt(now) * clean) / np.sqrt(1 - now)
    clean = clean if loop.clip is None else clean.clip(-loop.clip, loop.clip)
    return np.asarray(np.sqrt(then) * clean + np.sqrt(1 - then) * noise, np.float32)


def sources(policy: LoadedPolicy, seen: RawObservation, exported: Exported) -> Tensors:
    """The tensor of every source, prepared by LeRobot's own pipeline."""
    frames = [prepared(policy, seen, number) for number in range(len(seen.state))]
    found: Tensors = {}
    if seen.noise is not None:
        found["noise"] = seen.noise
    tensors: dict[str, list[torch.Tensor]] = {"state": [frame["observation.state"] for frame in frames]}
    for name, feature in policy.directory.cameras.items():
        tensors[f"cameras.{name}"] = [frame[feature] for frame in frames]
    if policy.directory.type == "smolvla":
        images, _ = policy.policy.prepare_images(frames[0])
        tensors |= {f"cameras.{name}": [image] for name, image in zip(policy.directory.cameras, images, strict=False)}
        found |= _words(frames[0], exported)
    for name, series in tensors.items():
        joined = series[0] if len(series) == 1 else torch.stack(series, dim=1)
        found[name] = joined.numpy()
    return found


def _words(frame: dict[str, Any], exported: Exported) -> Tensors:
    """Tokens and mask padded on the right to their full length."""
    tokens = frame["observation.language.tokens"].numpy()
    mask = frame["observation.language.attention_mask"].numpy()
    gap = ((0, 0), (0, exported.observed["text"].shape[1] - tokens.shape[1]))
    return {"text": np.pad(tokens, gap), "text.mask": np.pad(mask.astype(bool), gap)}


def worst_parity(policy: LoadedPolicy, exported: Exported, folder: Path, seen: list[RawObservation]) -> float:
    """The largest difference between the graphs and LeRobot, as a part of the range of its dimension."""
    graphs = ExportedPolicy(exported, folder)
    wanted = np.array([actions(policy, each) for each in seen])
    given = []
    for each in seen:
        chunk = torch.from_numpy(graphs.chunk(sources(policy, each, exported)))
        given.append(policy.postprocessor(chunk)[0].numpy())
    spread = wanted.max((0, 1)) - wanted.min((0, 1))
    return float((np.abs(np.array(given) - wanted).max((0, 1)) / spread).max())
