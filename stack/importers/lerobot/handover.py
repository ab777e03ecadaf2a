"""`homeport model export`: graphs, statistics and goldens of a LeRobot policy into a model folder that was drafted.

The last part of its vla.toml is written anew (`graph_part.py`); what a person wrote above it stays. Goldens are
LeRobot's own answers to made-up observations, so that another program than ours proves the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_registry.authoring import AUTHORED
from model_registry.core.contract import Golden
from model_registry.core.contract.graphs import TIME, Graph, GraphTensor, X
from model_registry.core.contract.observation import Observations
from model_registry.core.contract.output import ActionOutput
from model_registry.core.documents import Reader
from model_registry.core.errors import RefusedError
from model_registry.core.toml import load_toml
from stack.engine.goldens import save_arrays
from stack.engine.noise import noise
from stack.importers.graph_part import graph_part, replace_part
from stack.importers.lerobot import export, goldens, loading
from stack.importers.lerobot.draft import write_statistics
from stack.importers.lerobot.exported import Exported, ExportedGraph
from stack.importers.lerobot.goldens import RawObservation
from stack.importers.lerobot.loading import LoadedPolicy

GOLDENS = "golden/lerobot.npz"
TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 5e-2}
"""Precision → largest difference, as a part of what a dimension ranges over in the goldens."""
_LEAST_RANGE = 1e-3
"""A dimension that hardly moves still needs a tolerance."""


def hand_over(directory: Path, folder: Path, count: int, seed: int, texts: Sequence[str]) -> tuple[str, ...]:
    """Export a policy directory into `folder`; the files that were written.

    `count` goldens are made from `seed`; `texts` are the words in them, in turn. Raises HomeportError.
    """
    policy = loading.load(directory)
    recipes = _recipes(folder)
    if recipes.text is not None and not texts:
        raise RefusedError(f"{directory}: goes by words; give some that it was trained on with --text, once or more")
    write_statistics(folder, policy.directory)
    exported = export.export(policy, folder)
    tables, tolerance = _goldens(policy, recipes, count, seed, tuple(texts) or ("",))
    (folder / GOLDENS).parent.mkdir(exist_ok=True)
    save_arrays(folder / GOLDENS, tables)
    graphs = [_graph(graph, exported, recipes, policy.dims) for graph in exported.graphs]
    output = ActionOutput(exported.output.source, exported.output.first, exported.output.columns)
    part = graph_part(graphs, exported.loop, output, [Golden(GOLDENS, tolerance)])
    replace_part(folder, part)
    return (*(graph.path for graph in graphs), GOLDENS, AUTHORED)


def _recipes(folder: Path) -> Observations:
    """The observations that vla.toml describes. Raises UsageError while a number or a name in them is "?"."""
    document: dict[str, Any] = load_toml(folder / AUTHORED)
    return Observations.read(Reader(document.get("observation", {}), f"{AUTHORED}.observation"))


def _graph(graph: ExportedGraph, exported: Exported, recipes: Observations, dims: int) -> Graph:
    """In the contract's words. An input has a shape of its own where what is prepared has another one."""
    usual: dict[str, tuple[int, ...]] = {name: each.shape for name, each in recipes.tensors(dims).items()}
    usual[TIME] = (1,)
    if "noise" in usual:
        usual[X] = usual["noise"]
    inputs = []
    explicit = []
    for tensor in graph.inputs:
        source = graph.sources[tensor.name]
        inputs.append(GraphTensor(tensor.name, tensor.dtype, tuple(tensor.shape), source))
        if tuple(tensor.shape) != usual.get(source, tuple(tensor.shape)):
            explicit.append(tensor.name)
    outputs = tuple(GraphTensor(item.name, item.dtype, tuple(item.shape)) for item in graph.outputs)
    return Graph(graph.id, graph.path, graph.runs, tuple(inputs), outputs, tuple(explicit))


def _goldens(
    policy: LoadedPolicy, recipes: Observations, count: int, seed: int, texts: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[float, ...]]]:
    """The arrays of all goldens, and the tolerance of each dimension by precision."""
    seen = [
        _with_told_noise(each, seed + number, recipes)
        for number, each in enumerate(goldens.observations(policy, count, seed, texts))
    ]
    actions = np.stack([goldens.actions(policy, each) for each in seen])
    tables: dict[str, NDArray[Any]] = {"action": actions}
    for name, recipe in recipes.cameras.items():
        frames = np.stack([each.frames[name] for each in seen])
        tables[f"cameras.{name}"] = frames if len(recipe.frames) > 1 else frames[:, 0]
    if recipes.state is not None:
        states = np.stack([each.state for each in seen])
        tables["state"] = states if len(recipes.state.frames) > 1 else states[:, 0]
    if recipes.text is not None:
        tables["text"] = np.array([each.text for each in seen])
    if recipes.noise is not None:
        tables["seed"] = np.arange(seed, seed + count, dtype=np.int64)
    spread = np.maximum(np.ptp(actions.reshape(-1, actions.shape[-1]), axis=0), _LEAST_RANGE)
    tolerance = {name: tuple((part * spread).astype(float).tolist()) for name, part in TOLERANCES.items()}
    return tables, tolerance


def _with_told_noise(seen: RawObservation, seed: int, recipes: Observations) -> RawObservation:
    """The same observation with the noise that a slot would make from this seed."""
    if recipes.noise is None:
        return seen
    return replace(seen, noise=noise(seed, 0, recipes.noise.shape))
