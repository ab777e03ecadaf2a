"""One observation in, one chunk of actions in units out: preparation, graphs, statistics.

The gate, the slot, `homeport model check`, evaluation and training call this and nothing else.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from model_registry.core.contract import Contract
from stack.engine.cache import Cache
from stack.engine.observing import Answer, Observation, Steps
from stack.engine.preparation import Preparation
from stack.engine.wiring import Wired


class Inference:
    """Owns the graphs and every buffer. One thread calls it at a time.

    `backend_s` is what the last call took inside the graphs, in seconds.
    """

    def __init__(self, model: Path, contract: Contract, graphs: Wired, lidar_yaw: float = 0.0) -> None:
        self.contract = contract
        self.preparation = Preparation(model, contract, lidar_yaw)
        self.graphs = graphs
        self.identity = graphs.identity
        self.backend_s = 0.0
        self.cache: Cache[Any, Any] = self._cache()
        self._rows = slice(contract.output.first, contract.output.first + contract.action.horizon)
        self._columns = _run_of(contract.output.columns)

    def _cache(self) -> Cache[Any, Any]:
        """What of a command is kept: what its graphs gave, or its tokens."""
        if self.graphs.cache is not None:
            return self.graphs.cache
        if self.preparation.tokenizer is not None:
            return self.preparation.tokenizer.cache
        return Cache(lambda key: None, 0)

    def __call__(self, seen: Observation) -> Answer:
        """Run once. Raises IncompatibleError for an observation that lacks what the contract wants."""
        tensors = self.preparation(seen)
        start = time.monotonic()
        output = self.graphs.infer(tensors)
        self.backend_s = time.monotonic() - start
        return self.read(output, seen)

    def read(self, output: Steps, seen: Observation) -> Answer:
        """The rows [steps, columns] of the output -> actions in units, and the model's own score of them."""
        action = self.contract.action
        rows = output[self._rows]
        actions = self.preparation.statistics.action.to_units(rows[:, self._columns])
        if action.relative != "no":
            actions = self._added(actions, seen)
        advisory = self.contract.output.advisory
        if advisory is None:
            return Answer(actions, None)
        score = float(rows[:, advisory[1]].min())
        return Answer(actions, score if math.isfinite(score) else None)

    def _added(self, actions: Steps, seen: Observation) -> Steps:
        """Relative actions as absolute ones: added to the state that was seen, or each to the one before."""
        recipe = self.contract.observation.state
        assert recipe is not None and seen.state is not None
        places = [recipe.keys.index(f"joint_position.{name}") for name in self.contract.action.names]
        start = seen.state.reshape(-1, len(recipe.keys))[-1, places]
        steps = np.cumsum(actions, axis=0) if self.contract.action.relative == "to_previous" else actions
        result: Steps = (start + steps).astype(np.float32)
        return result


def _run_of(columns: tuple[int, ...]) -> slice | list[int]:
    """A slice where columns follow each other: a view costs nothing."""
    first = columns[0]
    whole = columns == tuple(range(first, first + len(columns)))
    return slice(first, first + len(columns)) if whole else list(columns)
