"""What the agent says about its work: checks, gate results, failures and results.

Each has the document that its schema describes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.gate import GateResult
from model_registry.core.visible import visible

PERMISSIONS = ("idle", "moving")
"""What a robot may have to be before it is changed: `--gate` of the command line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a release did not become, or did not stay, what this robot runs."""

    release: Digest
    stage: str
    message: str
    metric: str = "error"
    value: float | None = None
    threshold: float | None = None

    @classmethod
    def of_gate(cls, release: Digest, stage: str, result: GateResult) -> Failure:
        """The first check that is not ok, as a failure."""
        for check in result.checks:
            if not check.ok:
                message = visible(f"{result.gate} gate {result.verdict}: {check.text}")
                return cls(release, stage, message, check.metric, check.value, check.threshold)
        return cls(release, stage, f"{result.gate} gate: {result.verdict}", "verdict")

    def document(self) -> dict[str, object]:
        return {**asdict(self), "release": str(self.release)}


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What `stage` would do."""

    bytes: int
    engine_build: bool
    steps: tuple[str, ...]
    window: dict[str, object] | None = None
    """When it could be switched, where this robot has windows."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that `prune` took off the disk, or would take. `kind`: release, model, engine, image, copy, partial."""

    kind: str
    name: str
    bytes: int


@dataclass(slots=True)
class Result:
    """The outcome of a verb, filled in while it runs."""

    verb: str
    changed: bool
    release: Digest | None = None
    version: str | None = None
    stage: str = "IDLE"
    bytes_fetched: int = 0
    engines_built: int = 0
    seconds: float = 0.0
    plan: StagePlan | None = None
    gates: tuple[GateResult, ...] = ()
    failure: Failure | None = None
    cutover: str | None = None
    """How one release took over from the other: two-slot or stop-first."""
    removed: tuple[Removed, ...] = ()

    def document(self) -> dict[str, object]:
        return {
            **asdict(self),
            "schema": 1,
            "bytes_freed": sum(each.bytes for each in self.removed),
            "release": None if self.release is None else str(self.release),
            "gates": [gate.document() for gate in self.gates],
            "failure": None if self.failure is None else self.failure.document(),
        }


class FailedError(HomeportError):
    """A verb that did not reach its goal, with the result that tells how far it came."""

    def __init__(self, message: str, result: Result, exit_code: int = 1) -> None:
        super().__init__(message)
        self.result = result
        self.exit_code = exit_code


class CalledOff(HomeportError):
    """A rollback came while something could still be called off."""


class GateFailed(HomeportError):
    """A gate said no."""

    def __init__(self, release: Digest, stage: str, gate: GateResult) -> None:
        self.gate, self.failure = gate, Failure.of_gate(release, stage, gate)
        super().__init__(self.failure.message)
