"""One protocol for everything that can run a model, and the choice among what a release allows and this machine has.

A backend's library is imported only when it is chosen, so that a machine without that library can still run the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import IncompatibleError

Tensor = NDArray[np.float32] | NDArray[np.int64]
Options = Mapping[str, float | str | bool]


@dataclass(frozen=True)
class Identity:
    """What a backend really is: its name, the versions of its libraries and driver, and the precision it computes in."""

    name: str
    versions: dict[str, str]
    precision: str


class Backend(Protocol):
    """Runs one engine, the file `FILE` in a folder of its own. One thread calls it at a time."""

    FILE: ClassVar[str]
    identity: Identity

    def __init__(self, precision: str) -> None: ...

    @staticmethod
    def build(model: Path, contract: Contract, options: Options, target: Path) -> None:
        """Turn a model into the engine in the folder `target`. Raises HomeportError."""

    def load(self, engine: Path, contract: Contract) -> None:
        """Open a built engine. Raises HomeportError when its inputs or output are not those of the contract."""

    def infer(self, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        """The contract's inputs by name -> float32 [1, horizon, dims], not yet in units."""
        ...


@dataclass(frozen=True)
class Choice:
    """The backend that will run, and why those before it in the release cannot."""

    name: str
    kind: type[Backend]
    skipped: tuple[str, ...]

    @property
    def degraded(self) -> bool:
        """Whether the release's first choice is not available here."""
        return bool(self.skipped)


_CLASSES = {"onnxruntime": "OnnxRuntime", "null": "Null"}


def choose(names: tuple[str, ...]) -> Choice:
    """Take the first of `names` that is available here. Raises IncompatibleError when none is."""
    skipped: list[str] = []
    for name in names:
        if name not in _CLASSES:
            skipped.append(f"{name}: this version has no such backend")
            continue
        try:
            kind = getattr(importlib.import_module(f"{__name__}.{name}"), _CLASSES[name])
        except ImportError as error:
            skipped.append(f"{name}: {error}")
            continue
        return Choice(name, kind, tuple(skipped))
    raise IncompatibleError(
        f"no backend of the release runs here ({'; '.join(skipped)}); add one that does to engine.backends"
    )
