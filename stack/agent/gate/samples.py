"""What is seen of a slot at one moment, and whether it is what should run.

Only a live process may vouch for a release.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_number, fill, parse
from model_registry.core.errors import HomeportError
from model_registry.core.layout import SLOTS
from model_registry.core.release import Release
from stack.agent.host import Host
from stack.agent.machine.processes import ProcessId
from stack.agent.supervisor import SlotReport, View

FRESH_S = 2.0
_NO_SENSORS = ("command", "detections")


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """The part of status.json that gates look at.

    Milliseconds, bytes, counts since the process started; `machine` is its load and heat.
    """

    pid: int
    start_ticks: int
    release: str
    model: str
    engine: str | None
    image: str | None
    state: str
    error: str | None
    control_hz: float
    p50_ms: float | None
    p99_ms: float | None
    missed: int
    inferences: int
    clamped: int
    non_finite: int
    source_ages_ms: dict[str, float | None]
    memory_bytes: int
    monotonic_ns: int
    machine: dict[str, float | None]
    void_reason: str | None = None
    """Why its actions say nothing now."""
    faults: dict[str, str] = field(default_factory=dict)
    """Input → what is wrong with it, and what to do."""
    needed: frozenset[str] = frozenset()
    """The inputs without which it makes no actions."""

    @classmethod
    def read(cls, reader: Reader) -> SlotStatus:
        """Keys that only a newer release writes are let pass; an older one may say nothing of its machine or of faults.

        Raises UsageError.
        """
        sources = reader.table("sources", Reader)
        ages = {name: each.number("age_ms") if each.has("age_ms") else None for name, each in sources.items()}
        faults = {name: each.text("error") for name, each in sources.items() if each.has("fault")}
        needed = frozenset(name for name, each in sources.items() if _needed(name, each))
        p50_ms, p99_ms = (
            reader.number(f"inference_{key}") if reader.has(f"inference_{key}") else None
            for key in ("p50_ms", "p99_ms")
        )
        machine = reader.table("machine", _number_or_none) if reader.has("machine") else {}
        times = {"p50_ms": p50_ms, "p99_ms": p99_ms}
        return fill(cls, reader, source_ages_ms=ages, faults=faults, needed=needed, machine=machine, **times)

    @classmethod
    def load(cls, path: Path) -> SlotStatus | None:
        """None when there is no readable status."""
        try:
            return cls.read(Reader(parse(path.read_bytes(), path.name), path.name))
        except (OSError, HomeportError):
            return None

    @property
    def age_s(self) -> float:
        return (time.monotonic_ns() - self.monotonic_ns) / 1e9

    def wrote(self, identity: ProcessId) -> bool:
        """Whether this process wrote this, whenever that was."""
        return (self.pid, self.start_ticks) == (identity.pid, identity.start_ticks)

    def belongs_to(self, identity: ProcessId | None) -> bool:
        """Whether the live process wrote this, and lately."""
        return identity is not None and self.wrote(identity) and self.age_s < FRESH_S

    def unlike(
        self, release: Release, engine: str | None, image: str | None
    ) -> list[tuple[str, str | None, str | None]]:
        """What runs and should not: name, digest found, digest wanted."""
        pairs = {
            "release": (self.release, str(release.digest)),
            "model": (self.model, str(release.model)),
            "engine": (self.engine, engine),
            "image": (self.image, image),
        }
        return [(name, found, wanted) for name, (found, wanted) in pairs.items() if found is None or found != wanted]


def _needed(name: str, source: Reader) -> bool:
    """Whether a slot needs an input; the slot of a release that does not say so needs all of its sensors."""
    return source.boolean("needed") if source.has("needed") else name not in _NO_SENSORS


def _number_or_none(value: object, path: str) -> float | None:
    return None if value is None else as_number(value, path)


@dataclass(frozen=True, slots=True)
class SlotSample:
    """Everything known about one slot at one moment; None is what could not be read.

    `beside` is the status of the other slot.
    """

    at_s: float
    process: ProcessId | None
    status: SlotStatus | None
    view: View | None
    beside: SlotStatus | None = None

    @property
    def ready(self) -> bool:
        return self.status is not None and self.status.state == "ready"

    def slot(self, name: str) -> SlotReport | None:
        return None if self.view is None else self.view.slots[name]


def observe(host: Host, slot: str) -> SlotSample:
    """Read processes, status files and supervisor once. A status that the live process did not write is no status."""
    process = host.runtime.alive(slot)
    other = next(name for name in SLOTS if name != slot)
    beside = _own(host, other, host.runtime.alive(other))
    return SlotSample(time.monotonic(), process, _own(host, slot, process), host.supervisor.try_view(), beside)


def _own(host: Host, slot: str, process: ProcessId | None) -> SlotStatus | None:
    status = SlotStatus.load(host.layout.slot_status(slot))
    return status if status is not None and status.belongs_to(process) else None


def verified(host: Host, digest: Digest, sample: SlotSample) -> bool:
    """Whether a live process says that it is ready with exactly this release, its model, engine and image."""
    status = sample.status
    release = host.store.find(digest)
    if status is None or release is None or not sample.ready:
        return False
    return not status.unlike(release, host.store.engine_key(digest), image_here(host, release))


def image_here(host: Host, release: Release) -> str | None:
    """The digest that a slot on this robot must report as its image; None when the release has none for it."""
    image = release.images.get(host.robot().row_arch)
    return None if image is None else str(image.digest)
