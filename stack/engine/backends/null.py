"""A backend that computes nothing and takes a given time: what remains of a tick is our own overhead, on any hardware.

Its engine is a note of how long to take, from the release's overrides `null_ms` and `null_busy`. Its actions are all
zero before they get units, so that only a model made for it passes the parity gate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from model_registry.core.contract.graphs import Graph
from model_registry.core.documents import Reader, dump, parse
from stack.engine.backends import BackendIdentity, Job
from stack.engine.observing import Tensor


class Null:
    """Sleeps, or keeps a core busy, for `ms` milliseconds."""

    FILE: ClassVar[str] = "engine.json"
    device_bytes = 0

    def __init__(self, precision: str = "fp32", ms: float = 0.0, busy: bool = False) -> None:
        self.identity = BackendIdentity("null", {}, "fp32")
        self._seconds = ms / 1e3
        self._busy = busy
        self._outputs: dict[str, Tensor] = {}

    @staticmethod
    def build(job: Job) -> str:
        """Nothing is computed, in any precision."""
        note = {"ms": float(job.options.get("null_ms", 0.0)), "busy": bool(job.options.get("null_busy", False))}
        (job.target / Null.FILE).write_bytes(dump(note))
        return job.precision

    def load(self, engine: Path, graph: Graph) -> None:
        reader = Reader(parse((engine / self.FILE).read_bytes(), self.FILE), self.FILE)
        self._seconds, self._busy = reader.number("ms", 0.0) / 1e3, reader.boolean("busy")
        reader.done()
        self._outputs = {item.name: np.zeros(item.shape, item.dtype) for item in graph.outputs}

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        end = time.monotonic() + self._seconds
        if not self._busy:
            time.sleep(self._seconds)
        while time.monotonic() < end:
            pass
        return self._outputs

    def close(self) -> None:
        """Nothing is held."""
