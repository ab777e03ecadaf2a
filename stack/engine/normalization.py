"""From network outputs to actions in their units: output × std + mean, per dimension, from the model's `norm_stats.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.documents import Reader, parse


@dataclass(frozen=True)
class Normalization:
    """`mean` and `std`: float32 [dims], in the units of the action."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @classmethod
    def load(cls, model: Path, contract: Contract) -> Normalization:
        """Raises UsageError when a dimension of the contract is missing."""
        reader = Reader(
            parse((model / contract.normalization).read_bytes(), contract.normalization), contract.normalization
        )
        action = reader.child("action")
        means, stds = [], []
        for dim in contract.dims:
            item = action.child(dim.name)
            means.append(item.number("mean"))
            stds.append(item.number("std"))
            item.done()
        action.done()
        reader.done()
        return cls(np.asarray(means, dtype=np.float32), np.asarray(stds, dtype=np.float32))

    def actions(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """[1, horizon, dims] -> [horizon, dims] in units; may hold values that are not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            actions: NDArray[np.float32] = output[0] * self.std + self.mean
        return actions
