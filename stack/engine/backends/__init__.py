"""One protocol for everything that can run a model, and the choice among what a release allows and this machine has.

A backend imports its library only when it is opened, so that a machine without that library can still run the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
    """Runs one engine. `infer` takes the contract's inputs by name and returns float32 [1, horizon, dims], not yet in units."""

    @property
    def identity(self) -> Identity: ...

    def load(self, engine: Path, contract: Contract) -> None:
        """Open a built engine. Raises HomeportError when its inputs or output are not those of the contract."""

    def warm_up(self, inputs: Mapping[str, Tensor], runs: int) -> None:
        """Run `runs` times, so that first-run costs are paid before the robot depends on the time."""

    def infer(self, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Kind:
    """One kind of backend: how to open it, how to turn a model into its engine, and the engine's file name."""

    open: Callable[[str], Backend]
    build: Callable[[Path, Contract, Options, Path], None]
    file: str


@dataclass(frozen=True)
class Choice:
    """The backend that will run. `degraded` when the release's first choice is not available here; `skipped` says why."""

    name: str
    kind: Kind
    degraded: bool
    skipped: tuple[str, ...]


_MODULES = {"onnxruntime": "stack.engine.backends.onnxruntime", "null": "stack.engine.backends.null"}


def choose(names: tuple[str, ...]) -> Choice:
    """Take the first of `names` that is available here. Raises IncompatibleError when none is."""
    skipped: list[str] = []
    for name in names:
        if name not in _MODULES:
            skipped.append(f"{name}: this version has no such backend")
            continue
        try:
            kind: Kind = importlib.import_module(_MODULES[name]).KIND
        except ImportError as error:
            skipped.append(f"{name}: {error}")
            continue
        return Choice(name, kind, bool(skipped), tuple(skipped))
    raise IncompatibleError(
        f"no backend of the release runs here ({'; '.join(skipped)}); add one that does to engine.backends"
    )
