"""From network outputs to actions in their units: output × std + mean, per dimension, from the model's
`norm_stats.json`.
"""

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
        name = contract.normalization
        reader = Reader(parse((model / name).read_bytes(), name), name)
        action = reader.child("action")
        dims = [action.child(dim.name) for dim in contract.dims]
        mean, std = (np.asarray([dim.number(key) for dim in dims], dtype=np.float32) for key in ("mean", "std"))
        reader.done()
        return cls(mean, std)

    def actions(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """[1, horizon, dims or more] -> [horizon, dims] in units; may hold values that are not finite, of which numpy
        warns unless told not to.
        """
        actions: NDArray[np.float32] = output[0, :, : len(self.mean)] * self.std
        actions += self.mean
        return actions
