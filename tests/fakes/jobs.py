"""Build an engine in this process, as the builder's child does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph
from stack.engine.backends import Backend, Job
from stack.engine.observing import Tensor


def make_job(model: Path, folder: Path, precision: str = "fp32", said: list[str] | None = None) -> Job:
    """A build of the last graph of `model` into `folder/engine`; its progress goes to `said`."""
    target, scratch = folder / "engine", folder / "scratch"
    for each in (target, scratch):
        each.mkdir(parents=True, exist_ok=True)
    heard = [] if said is None else said
    contract = Contract.load(model)
    graph = contract.graphs[-1]
    return Job(model, contract, graph, precision, {}, target, scratch, folder / "timing.cache", heard.append)


def inputs_of(graph: Graph) -> dict[str, Tensor]:
    """Ones for every input of a graph."""
    return {item.name: np.ones(item.shape, np.dtype(item.dtype)) for item in graph.inputs}


def build_and_load(kind: type[Backend], job: Job) -> Backend:
    """The opened engine of `job`."""
    assert kind.build(job) == job.precision
    backend = kind(job.precision)
    backend.load(job.target, job.graph)
    return backend
