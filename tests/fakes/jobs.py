"""Build an engine in this process, as the builder's child does."""

from __future__ import annotations

from pathlib import Path

from model_registry.core.contract import Contract
from stack.engine.backends import Backend, Job


def make_job(model: Path, folder: Path, precision: str = "fp32", **options: float | str | bool) -> Job:
    """A build of `model` into `folder/engine`."""
    target, scratch = folder / "engine", folder / "scratch"
    for each in (target, scratch):
        each.mkdir(parents=True, exist_ok=True)
    return Job(model, Contract.load(model), precision, options, target, scratch, folder / "timing.cache")


def build_and_load(kind: type[Backend], job: Job) -> Backend:
    """The opened engine of `job`."""
    assert kind.build(job) == job.precision
    backend = kind(job.precision)
    backend.load(job.target, job.contract)
    return backend
