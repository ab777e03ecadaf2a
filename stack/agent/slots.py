"""What a slot says about itself, and whether that is what runs: only a live process may vouch for a release."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError
from stack.agent.runtime import Identity

FRESH_S = 2.0


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """The part of status.json that gates look at. Milliseconds, bytes, counts since the process started."""

    pid: int
    start_ticks: int
    release: str
    model: str
    engine: str | None
    state: str
    error: str | None
    control_hz: float
    actions: int
    p99_ms: float | None
    missed: int
    inferences: int
    clamped: int
    non_finite: int
    source_ages_ms: dict[str, float | None]
    memory_bytes: int
    monotonic_ns: int

    @classmethod
    def parse(cls, data: bytes) -> SlotStatus:
        """Keys that only a newer release writes are let pass. Raises UsageError."""
        reader = Reader(parse(data, "status.json"), "status.json")
        sources = reader.table("sources", Reader)
        return cls(
            pid=reader.integer("pid"),
            start_ticks=reader.integer("start_ticks"),
            release=reader.text("release"),
            model=reader.text("model"),
            engine=reader.text("engine") if reader.has("engine") else None,
            state=reader.text("state"),
            error=reader.text("error") if reader.has("error") else None,
            control_hz=reader.number("control_hz"),
            actions=reader.integer("actions"),
            p99_ms=reader.number("inference_p99_ms") if reader.has("inference_p99_ms") else None,
            missed=reader.integer("missed"),
            inferences=reader.integer("inferences"),
            clamped=reader.integer("clamped"),
            non_finite=reader.integer("non_finite"),
            source_ages_ms={
                name: source.number("age_ms") if source.has("age_ms") else None for name, source in sources.items()
            },
            memory_bytes=reader.integer("memory_bytes"),
            monotonic_ns=reader.integer("monotonic_ns"),
        )

    @property
    def age_s(self) -> float:
        return (time.monotonic_ns() - self.monotonic_ns) / 1e9

    def belongs_to(self, identity: Identity | None) -> bool:
        """Whether the live process wrote this, and lately."""
        own = identity is not None and (self.pid, self.start_ticks) == (identity.pid, identity.start_ticks)
        return own and self.age_s < FRESH_S


def read_status(path: Path) -> SlotStatus | None:
    """None when there is no readable status."""
    try:
        return SlotStatus.parse(path.read_bytes())
    except (OSError, HomeportError):
        return None
