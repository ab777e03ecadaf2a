"""What the agent says about its work: checks, gate results, failures and results, each with the document that its schema describes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError

PASSING = ("healthy", "degraded-hw")


@dataclass(frozen=True, slots=True)
class Check:
    """One measured value against its threshold, and the sentence about it."""

    metric: str
    value: float | None
    threshold: float | None
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """A verdict (healthy, unhealthy, degraded-hw, starting, unreachable) and the checks it rests on."""

    gate: str
    verdict: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return self.verdict in PASSING

    def document(self) -> dict[str, object]:
        return {
            "schema": 1,
            "gate": self.gate,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a release did not become, or did not stay, what this robot runs."""

    release: Digest
    stage: str
    metric: str
    value: float | None
    threshold: float | None
    message: str

    @classmethod
    def of_gate(cls, release: Digest, stage: str, result: GateResult) -> Failure:
        """The first check that is not ok, as a failure."""
        for check in result.checks:
            if not check.ok:
                message = f"{result.gate} gate {result.verdict}: {check.text}"
                return cls(release, stage, check.metric, check.value, check.threshold, message)
        return cls(release, stage, "verdict", None, None, f"{result.gate} gate: {result.verdict}")

    @classmethod
    def read(cls, reader: Reader) -> Failure:
        return cls(
            reader.digest("release"),
            reader.text("stage"),
            reader.text("metric"),
            reader.number("value") if reader.has("value") else None,
            reader.number("threshold") if reader.has("threshold") else None,
            reader.text("message"),
        )

    def document(self) -> dict[str, object]:
        return {**asdict(self), "release": str(self.release)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What `stage` would do."""

    bytes: int
    engine_build: bool
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a verb; `seconds` is filled in where the verb was called."""

    verb: str
    changed: bool
    release: Digest | None = None
    version: str | None = None
    stage: str = "IDLE"
    bytes_fetched: int = 0
    engines_built: int = 0
    plan: Plan | None = None
    gates: tuple[GateResult, ...] = ()
    failure: Failure | None = None

    def document(self, seconds: float) -> dict[str, object]:
        return {
            "schema": 1,
            "verb": self.verb,
            "changed": self.changed,
            "release": None if self.release is None else str(self.release),
            "version": self.version,
            "stage": self.stage,
            "bytes_fetched": self.bytes_fetched,
            "engines_built": self.engines_built,
            "seconds": round(seconds, 3),
            "plan": None if self.plan is None else {**asdict(self.plan), "steps": list(self.plan.steps)},
            "gates": [gate.document() for gate in self.gates],
            "failure": None if self.failure is None else self.failure.document(),
        }


class FailedError(HomeportError):
    """A verb that did not reach its goal, with the result that tells how far it came."""

    def __init__(self, message: str, result: Result, exit_code: int = 1) -> None:
        super().__init__(message)
        self.result = result
        self.exit_code = exit_code
