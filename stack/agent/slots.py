"""What is seen of a slot at one moment, and whether it is what should run: only a live process may vouch for a release."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError
from stack.agent.host import Host
from stack.agent.reports import fill
from stack.agent.runtime import Identity
from stack.agent.supervisor import SlotView, View

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
    p99_ms: float | None
    missed: int
    inferences: int
    clamped: int
    non_finite: int
    source_ages_ms: dict[str, float | None]
    memory_bytes: int
    monotonic_ns: int

    @classmethod
    def load(cls, path: Path) -> SlotStatus | None:
        """None when there is no readable status; keys that only a newer release writes are let pass."""
        try:
            reader = Reader(parse(path.read_bytes(), path.name), path.name)
            sources = reader.table("sources", Reader)
            ages = {name: each.number("age_ms") if each.has("age_ms") else None for name, each in sources.items()}
            p99_ms = reader.number("inference_p99_ms") if reader.has("inference_p99_ms") else None
            return fill(cls, reader, source_ages_ms=ages, p99_ms=p99_ms)
        except (OSError, HomeportError):
            return None

    def belongs_to(self, identity: Identity | None) -> bool:
        """Whether the live process wrote this, and lately."""
        own = identity is not None and (self.pid, self.start_ticks) == (identity.pid, identity.start_ticks)
        return own and time.monotonic_ns() - self.monotonic_ns < FRESH_S * 1e9


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything known about one slot at one moment; None is what could not be read."""

    at_s: float
    process: Identity | None
    status: SlotStatus | None
    view: View | None

    @property
    def ready(self) -> bool:
        return self.status is not None and self.status.state == "ready"

    def slot(self, name: str) -> SlotView | None:
        return None if self.view is None else self.view.slots[name]


def observe(host: Host, slot: str) -> Sample:
    """Read process, status file and supervisor once. A status that the live process did not write is no status."""
    process = host.runtime.alive(slot)
    status = SlotStatus.load(host.layout.slot_status(slot))
    own = status if status is not None and status.belongs_to(process) else None
    return Sample(time.monotonic(), process, own, host.supervisor.try_view())


def verified(host: Host, digest: Digest, sample: Sample) -> bool:
    """Whether a live process says that it runs exactly this release, its model and its engine, and is ready."""
    status, release = sample.status, host.store.find(digest)
    if status is None or release is None or not sample.ready:
        return False
    found = (status.release, status.model, status.engine)
    return found == (str(digest), str(release.model), host.store.engine_key(digest))
