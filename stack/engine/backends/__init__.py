"""One protocol for everything that can run a model, and the choice among what a release allows and this machine has.

A backend's library is imported only when it is chosen, so that a machine without that library can still run the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph, GraphTensor
from model_registry.core.errors import IncompatibleError
from model_registry.core.reasons import reason
from stack.engine.observing import Tensor

ANY = "any"
"""The precision of a graph without weights: it computes in what it is given."""
Options = Mapping[str, float | str | bool]


@dataclass(frozen=True)
class BackendIdentity:
    """What a backend really is: its name, the versions of its libraries and driver, its precision, and the device it
    needs besides a CPU.
    """

    name: str
    versions: dict[str, str]
    precision: str
    device: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One build: a graph of a model, what to make of it, and the empty folder `target` for the engine's files.

    `scratch` is thrown away afterwards; `timing` is a file that outlives the build, for what a builder measured; `say`
    takes progress lines.
    """

    model: Path
    contract: Contract
    graph: Graph
    precision: str
    options: Options
    target: Path
    scratch: Path
    timing: Path
    say: Callable[[str], None] = lambda text: None


class Runner(Protocol):
    """Something loaded that runs. One thread calls it at a time."""

    identity: BackendIdentity

    @property
    def device_bytes(self) -> int:
        """What a loaded engine holds of a memory that is not this process's own; 0 on a CPU."""

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The graph's inputs by name -> its outputs by name, valid until the next call."""
        ...

    def close(self) -> None:
        """Give back what it holds."""


class Backend(Runner, Protocol):
    """Runs one engine, the file `FILE` (and what belongs to it) in a folder of its own.

    It can load another one after `close`.
    """

    FILE: ClassVar[str]

    def __init__(self, precision: str) -> None: ...

    @staticmethod
    def build(job: Job) -> str:
        """Make the engine; the precision that was read back from it. Raises HomeportError."""
        ...

    def load(self, engine: Path, graph: Graph) -> None:
        """Open a built engine. Raises HomeportError when its inputs or outputs are not those of the contract."""


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


_CLASSES = {
    "onnxruntime": "OnnxRuntime",
    "tensorrt": "TensorRT",
    "torch_tensorrt": "TorchTensorRT",
    "torch": "Torch",
    "null": "Null",
}


def choose(names: tuple[str, ...]) -> Choice:
    """Take the first of `names` that is available here. Raises IncompatibleError when none is."""
    skipped: list[str] = []
    for name in names:
        try:  # a backend whose device is missing raises ImportError as well; a library behind its library, OSError
            kind = getattr(importlib.import_module(f"{__name__}.{name}"), _CLASSES[name])
        except (ImportError, OSError) as error:
            skipped.append(f"{name}: {reason(error)}")
            continue
        return Choice(name, kind, tuple(skipped))
    raise IncompatibleError(
        f"no backend of the release runs here ({'; '.join(skipped)}); add one that does to engine.backends"
    )


def check_ends(what: str, graph: Graph, inputs: Mapping[str, object], outputs: Mapping[str, object]) -> None:
    """Whether a graph takes exactly what its contract gives it and gives what is used.

    Values: (dtype name, shape). Raises IncompatibleError.
    """
    used = {item.name: outputs[item.name] for item in graph.outputs if item.name in outputs}
    for kind, have, want in (("inputs", inputs, graph.inputs), ("outputs", used or outputs, graph.outputs)):
        wanted = _ends(want)
        if dict(have) != wanted:
            raise IncompatibleError(
                f"graph {graph.id}: the {kind} of {what} are {dict(have)}, vla.json says {wanted}; pack the model again"
            )


def _ends(items: Iterable[GraphTensor]) -> dict[str, object]:
    return {item.name: (item.dtype, item.shape) for item in items}
