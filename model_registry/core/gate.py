"""What a gate found. Engines prove with it, agents judge with it; docs/schemas/gate.schema.json is its document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from model_registry.core.documents import Reader, fill, parse
from model_registry.core.errors import HomeportError

PASSING = ("healthy", "degraded-hw")


@dataclass(frozen=True)
class Check:
    """One measured value against its threshold, and the sentence about it.

    `value` is None when there is no finite figure.
    """

    metric: str
    value: float | None
    threshold: float | None
    ok: bool
    text: str


@dataclass(frozen=True)
class GateResult:
    """A verdict (healthy, unhealthy, degraded-hw, starting, unreachable) and the checks it rests on."""

    gate: str
    verdict: str
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, gate: str, checks: Iterable[Check]) -> GateResult:
        """Healthy when every check is ok. No check at all is no proof."""
        taken = tuple(checks)
        healthy = bool(taken) and all(check.ok for check in taken)
        return cls(gate, "healthy" if healthy else "unhealthy", taken)

    @classmethod
    def read(cls, reader: Reader) -> GateResult:
        """From its document. Raises UsageError naming the key."""
        return fill(cls, reader, checks=reader.objects("checks", lambda each: fill(Check, each)))

    @classmethod
    def load(cls, path: Path) -> GateResult:
        """From its document on disk. Raises OSError or UsageError."""
        return cls.read(Reader(parse(path.read_bytes(), path.name), path.name))

    @property
    def passed(self) -> bool:
        return self.verdict in PASSING

    def document(self) -> dict[str, object]:
        return {"schema": 1, **asdict(self), "checks": [asdict(check) for check in self.checks]}


def proved(path: Path) -> bool:
    """Whether the document of a gate is there, and its verdict passes."""
    try:
        return GateResult.load(path).passed
    except (OSError, HomeportError):
        return False
