"""The slot status file: what the health check, the agent and the monitor know of a slot.

Its schema is docs/schemas/slot-status.schema.json.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError
from model_registry.core.files import write_volatile
from model_registry.core.visible import visible
from stack.policy.inference import percentiles
from stack.policy.load import Found
from stack.policy.slot import Slot

_ERROR_LENGTH = 500


def start_ticks() -> int:
    """When this process started, in clock ticks since boot: with the pid it names the process for good."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return int(fields[19])


@dataclass
class SlotStatusFile:
    """Fills in and writes the file. The threads of the node set the fields; the main thread writes."""

    path: Path
    slot: str
    epoch: int
    found: Found
    state: str = "starting"
    error: str | None = None
    engine: str | None = None
    degraded: bool = False
    running: Slot | None = None
    actions: int = 0
    void_reason: str | None = None
    machine: dict[str, float | None] = field(default_factory=dict)
    """Load and heat, as they were sampled last."""
    start_ticks: int = field(default_factory=start_ticks)

    def to_dict(self, now: float, ros_now_ns: int) -> dict[str, object]:
        """The document; `now` is monotonic seconds, `ros_now_ns` the same moment in ROS time."""
        release = self.found.release
        image = self.found.image
        running = self.running
        return {
            "schema": 1,
            "slot": self.slot,
            "pid": os.getpid(),
            "start_ticks": self.start_ticks,
            "epoch": self.epoch,
            "release": str(release.digest),
            "model": str(release.model),
            "image": str(image) if image else None,
            "engine": self.engine,
            "state": self.state,
            "error": self.error[:_ERROR_LENGTH] if self.error else None,
            "profile": release.profile,
            "degraded": self.degraded,
            "actions": self.actions,
            "void_reason": self.void_reason,
            "sources": running.inputs(now, ros_now_ns) if running else {},
            "memory_bytes": psutil.Process().memory_info().rss,
            "machine": self.machine,
            "monotonic_ns": int(now * 1e9),
            **(_figures(running) if running else _NOTHING),
        }

    def write(self, ros_now_ns: int) -> None:
        """Replace the file by what is true now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_volatile(self.path, dump(self.to_dict(time.monotonic(), ros_now_ns)))


def report(failure: BaseException | None, message: str | None) -> int:
    """Say on stderr why a slot ends, when it did not want to. Returns the exit code."""
    if failure is None:
        return 0
    sys.stderr.write(f"error: {visible(' '.join(str(message).split()))}\n")
    return failure.exit_code if isinstance(failure, HomeportError) else 1


def _figures(running: Slot) -> dict[str, object]:
    inference = running.inference
    ticks = running.ticks
    chunks = running.chunks
    p50_ms, p99_ms = inference.percentiles()
    overhead_p50_ms, overhead_p99_ms = inference.overhead()
    return {
        "backend": inference.identity.name,
        "precision": inference.identity.precision,
        "control_hz": running.contract.action.control_hz,
        "inferences": running.inferences,
        "inference_p50_ms": p50_ms,
        "inference_p99_ms": p99_ms,
        "overhead_p50_ms": overhead_p50_ms,
        "overhead_p99_ms": overhead_p99_ms,
        "overhead_counts": inference.overhead_counts.pairs(),
        "prepared_p50_ms": percentiles(inference.prepared)[0],
        "delay_steps": chunks.delay_steps,
        "gap_free": running.pace.gap_free,
        "rung": running.pace.rung.name,
        "advisory": running.advisory,
        "missed": ticks.missed,
        "late": ticks.late,
        "late_p99_ms": ticks.late_p99_ms,
        "late_counts": ticks.late_counts.pairs(),
        "empty": ticks.empty,
        "struggling": ticks.struggling,
        "slow": running.slow,
        "non_finite": chunks.non_finite,
        "clamped": chunks.clamped,
    }


_COUNTS = ("inferences", "missed", "late", "empty", "slow", "non_finite", "clamped", "delay_steps")
_UNKNOWN = (
    "backend", "precision", "inference_p50_ms", "inference_p99_ms", "overhead_p50_ms", "overhead_p99_ms",
    "prepared_p50_ms", "late_p99_ms", "gap_free", "rung", "advisory",
)  # fmt: skip
_NOTHING: dict[str, object] = {
    **dict.fromkeys(_UNKNOWN),
    **dict.fromkeys(_COUNTS, 0),
    "late_counts": [],
    "overhead_counts": [],
    "control_hz": 0.0,
    "struggling": False,
}
