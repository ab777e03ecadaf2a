"""The slot status file: what the health check, the agent and the monitor know of a slot. docs/schemas/slot-status.schema.json."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from model_registry.core.documents import dump
from model_registry.core.files import write_volatile
from stack.policy.load import Found, Loaded
from stack.policy.slot import Slot
from stack.policy.ticks import Ticks

_ERROR_LENGTH = 500


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid it names the process for good."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return int(fields[19])


def memory_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Status:
    """Fills in and writes the file. The threads of the node set the fields; the main thread writes."""

    path: Path
    slot: str
    epoch: int
    found: Found
    state: str = "starting"
    error: str | None = None
    loaded: Loaded | None = None
    running: Slot | None = None
    ticks: Ticks | None = None
    actions: int = 0
    void_reason: str | None = None
    pid: int = field(default_factory=os.getpid)
    start_ticks: int = field(default_factory=lambda: start_ticks(os.getpid()))

    def to_dict(self, now: float) -> dict[str, object]:
        """The document; `now` is monotonic seconds."""
        release, loaded, running, ticks = self.found.release, self.loaded, self.running, self.ticks
        times = loaded.inference.percentiles() if loaded else None
        return {
            "schema": 1,
            "slot": self.slot,
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "epoch": self.epoch,
            "release": str(release.digest),
            "model": str(release.model),
            "image": str(self.found.image) if self.found.image else None,
            "engine": loaded.engine if loaded else None,
            "state": self.state,
            "error": self.error[:_ERROR_LENGTH] if self.error else None,
            "profile": release.profile,
            "backend": loaded.identity.name if loaded else None,
            "precision": loaded.identity.precision if loaded else None,
            "degraded": loaded.degraded if loaded else False,
            "control_hz": loaded.contract.control_hz if loaded else 0.0,
            "actions": self.actions,
            "inferences": loaded.inference.count if loaded else 0,
            "inference_p50_ms": times[0] if times else None,
            "inference_p99_ms": times[1] if times else None,
            "missed": ticks.missed if ticks else 0,
            "late": ticks.late if ticks else 0,
            "non_finite": running.chunks.non_finite if running else 0,
            "clamped": running.chunks.clamped if running else 0,
            "void_reason": self.void_reason,
            "sources": running.sources(now) if running else {},
            "memory_bytes": memory_bytes(),
            "monotonic_ns": int(now * 1e9),
        }

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_volatile(self.path, dump(self.to_dict(time.monotonic())))
