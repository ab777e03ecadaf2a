"""What a robot was like before the switch, so that nothing of it is held against the release.

Taken from the old release while it drives alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from stack.agent.gate.samples import SlotSample, SlotStatus, observe
from stack.agent.host import Host
from stack.agent.supervisor import View

SOURCE_AGE_MS = 1000.0
HOT_C = 95.0
_PERIOD_S = 0.1


@dataclass(frozen=True, slots=True)
class Baseline:
    """None is what nobody could tell.

    Rates per control period, milliseconds, bytes, percent; `healthy`: the old release was selectable.
    """

    release: str | None = None
    healthy: bool | None = None
    faults: frozenset[str] = frozenset()
    """Sources that were broken at any moment, and `temperature_c` or `throttled`."""
    missed_rate: float | None = None
    control_hz: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    inferences: int = 0
    memory_bytes: int | None = None
    temperature_c: float | None = None
    pressure_percent: float | None = None

    @classmethod
    def of(cls, slot: str | None, samples: Sequence[SlotSample]) -> Baseline:
        """From samples of the slot that drives, oldest first; without one only the supervisor's sources are known."""
        faults = frozenset[str]().union(*(faults_of(sample, slot) for sample in samples))
        first = samples[0]
        last = samples[-1]
        if slot is None:
            return cls(faults=faults)
        if (status := last.status) is None:
            return cls(healthy=False, faults=faults)
        view = last.slot(slot)
        return cls(
            release=status.release,
            healthy=None if view is None else last.ready and view.selectable,
            faults=faults,
            missed_rate=missed_rate(first.status, status),
            control_hz=heard_hz(first.view, last.view, slot),
            p50_ms=status.p50_ms,
            p99_ms=status.p99_ms,
            inferences=status.inferences,
            memory_bytes=status.memory_bytes,
            temperature_c=temperature_c(status),
            pressure_percent=status.machine.get("pressure_percent"),
        )

    def document(self) -> dict[str, object]:
        return {**asdict(self), "faults": sorted(self.faults)}


def take(host: Host, slot: str | None, seconds: float) -> Baseline:
    """Watch the slot that drives for so long; once is enough where it says nothing."""
    looked_at = slot or host.store.free_slot()
    end = time.monotonic() + seconds
    samples = [observe(host, looked_at)]
    while slot and samples[-1].status and time.monotonic() < end and not host.stopping.wait(_PERIOD_S):
        samples.append(observe(host, looked_at))
    return Baseline.of(slot, samples)


def faults_of(sample: SlotSample, slot: str | None) -> frozenset[str]:
    """What of the robot is broken now, by the supervisor or by the slot that drives."""
    found = set(sample.view.faulty_sources if sample.view else ())
    if slot is not None and (status := sample.status) is not None:
        found |= stale_sources(status)
        found |= {"temperature_c"} if (temperature_c(status) or 0.0) > HOT_C else set()
        found |= {"throttled"} if status.machine.get("throttled") else set()
    return frozenset(found)


def stale_sources(status: SlotStatus) -> set[str]:
    """The inputs of a policy that it has not heard for too long."""
    ages = status.source_ages_ms
    return {name for name in status.needed if not source_ok(ages[name])}


def source_ok(age_ms: float | None) -> bool:
    return age_ms is not None and age_ms <= SOURCE_AGE_MS


def temperature_c(status: SlotStatus) -> float | None:
    """The hottest of machine and GPU; None where nothing says."""
    known = [status.machine.get(name) for name in ("temperature_c", "gpu_temperature_c")]
    return max((value for value in known if value is not None), default=None)


def missed_rate(first: SlotStatus | None, now: SlotStatus, least: int = 10) -> float | None:
    """Part of the control periods since `first` that had no tick; None over fewer than `least`."""
    if first is None or first.pid != now.pid:
        return None
    periods = (now.monotonic_ns - first.monotonic_ns) / 1e9 * now.control_hz
    return round((now.missed - first.missed) / periods, 4) if periods >= least else None


def heard_hz(first: View | None, now: View | None, slot: str) -> float | None:
    """Messages of a slot's process that the supervisor heard in a second; None over less than a second."""
    if first is None or now is None or first.slots[slot].epoch != now.slots[slot].epoch:
        return None
    seconds = (now.monotonic_ns - first.monotonic_ns) / 1e9
    return round((now.slots[slot].actions - first.slots[slot].actions) / seconds, 2) if seconds >= 1.0 else None
