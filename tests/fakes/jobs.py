"""Build an engine in this process, as the builder's child does."""

from __future__ import annotations

from pathlib import Path

from model_registry.core.contract import Contract
from stack.engine.backends import Backend, Job


def make_job(model: Path, folder: Path, precision: str = "fp32", said: list[str] | None = None) -> Job:
    """A build of `model` into `folder/engine`; its progress goes to `said`."""
    target, scratch = folder / "engine", folder / "scratch"
    for each in (target, scratch):
        each.mkdir(parents=True, exist_ok=True)
    heard = [] if said is None else said
    return Job(model, Contract.load(model), precision, {}, target, scratch, folder / "timing.cache", heard.append)


def build_and_load(kind: type[Backend], job: Job) -> Backend:
    """The opened engine of `job`."""
    assert kind.build(job) == job.precision
    backend = kind(job.precision)
    backend.load(job.target, job.contract)
    return backend
