"""Between numbers in their units and what networks take and give, by the statistics that training left.

The file is JSON: for each number of the state and each dimension of the action a row with what its kind needs,

    {"state": {"joint_position.elbow": {"mean": 0.1, "std": 0.4}}, "action": {"linear_x": {"mean": 0.2, "std": 0.1}}}

| kind | to the network | back | needs |
|---|---|---|---|
| none | x | y | |
| mean_std | (x − mean)/(std + 1e-8) | y · std + mean | mean, std |
| min_max | 2(x − min)/(max − min) − 1 | (y + 1)/2 · (max − min) + min | min, max |
| quantiles | as min_max, between the quantiles of 1 and 99 % | | q01, q99 |

Where max equals min, their difference is taken for 1e-8. All is computed in float32, in this order, as LeRobot does, so
that results agree to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.contract.observation import STATISTICS
from model_registry.core.documents import Reader, parse

EPSILON = np.float32(1e-8)
Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Normaliser:
    """One kind for a row of numbers; `low` is the mean or the lower end, `spread` the rest, both float32 [width]."""

    kind: str
    low: Numbers
    spread: Numbers

    @classmethod
    def read(cls, kind: str, rows: Sequence[Reader]) -> Normaliser:
        """Raises UsageError when a row lacks what its kind needs."""
        if kind == "none":
            return cls(kind, np.zeros(0, np.float32), np.zeros(0, np.float32))
        first, second = (np.asarray([row.number(key) for row in rows], np.float32) for key in STATISTICS[kind])
        if kind == "mean_std":
            return cls(kind, first, second)
        spread = second - first
        return cls(kind, first, np.where(spread == 0, EPSILON, spread).astype(np.float32))

    def to_network(self, numbers: Numbers) -> Numbers:
        """[..., width] in units -> the same shape, as the network wants it."""
        if self.kind == "none":
            return numbers
        if self.kind == "mean_std":
            result: Numbers = (numbers - self.low) / (self.spread + EPSILON)
            return result
        return np.float32(2) * (numbers - self.low) / self.spread - np.float32(1)

    def to_units(self, numbers: Numbers) -> Numbers:
        """[..., width] from the network -> a new array in units; numpy warns of what is not finite unless told not
        to.
        """
        if self.kind == "none":
            return numbers.copy()
        if self.kind == "mean_std":
            result: Numbers = numbers * self.spread
            result += self.low
            return result
        return (numbers + np.float32(1)) / np.float32(2) * self.spread + self.low


@dataclass(frozen=True)
class Statistics:
    """What is normalised in a model: its actions, and its state where it sees one."""

    action: Normaliser
    state: Normaliser | None

    @classmethod
    def load(cls, model: Path, contract: Contract) -> Statistics:
        """Raises UsageError when a number that is normalised has no statistics."""
        name = contract.statistics
        reader = None if name is None else Reader(parse((model / name).read_bytes(), name), name)
        action = _part(reader, "action", contract.action.normalise, contract.action.names)
        recipe = contract.observation.state
        return cls(action, None if recipe is None else _part(reader, "state", recipe.normalise, recipe.keys))


def _part(reader: Reader | None, part: str, kind: str, names: Sequence[str]) -> Normaliser:
    if reader is None or kind == "none":
        return Normaliser.read("none", ())
    rows = reader.child(part)
    return Normaliser.read(kind, [rows.child(name) for name in names])
