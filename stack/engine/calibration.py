"""The inputs of one graph on a model's calibration data, to choose int8 scales by.

Observations are prepared as on a robot. What a graph reads from another one is computed from the graphs as they were
packed; of a loop, each step counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph
from stack.engine.goldens import read_calibration
from stack.engine.observing import Tensor
from stack.engine.packed import Packed
from stack.engine.preparation import Preparation
from stack.engine.wiring import Wired


def calibration(model: Path, contract: Contract, graph: Graph) -> Iterator[dict[str, Tensor]]:
    """The inputs of `graph` by name, one set an inference of it. Raises UsageError when there are no data."""
    observations = read_calibration(model, contract)
    preparation = Preparation(model, contract)
    runners = {each.id: Packed(model, each, watched=each.id == graph.id) for each in contract.graphs}
    wired = Wired(contract, runners, kept=0)
    seen = runners[graph.id].seen
    for observation in observations:
        with np.errstate(over="ignore", invalid="ignore"):
            wired.infer(preparation(observation))
        yield from seen
        seen.clear()
