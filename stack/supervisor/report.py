"""What the supervisor says about itself: `/safety/state`, the reply to `status`, and `/safety_log`."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from model_registry.core.version import version
from stack.supervisor import state as machine_state
from stack.supervisor.limits import Command

if TYPE_CHECKING:
    from stack.supervisor.supervisor import Supervisor

PROTOCOL = 1
_VERSION = version()


def state(supervisor: Supervisor, now_s: float) -> dict[str, object]:
    """The document of `/safety/state`."""
    machine = supervisor.machine
    selection = supervisor.selection
    selected = selection.selected
    driver = selection.driver
    probation = selection.probation
    driving = on_probation = None
    if selected is not None and driver is not None:
        epoch = driver.epoch if driver.release == selected.release.short else None
        driving = {"slot": selected.slot, "release": str(selected.release), "epoch": epoch}
    if probation is not None:
        on_probation = {"fallback": probation.fallback, "remaining_s": round(max(0.0, probation.until_s - now_s), 3)}
    return {
        "schema": 1,
        "protocol": PROTOCOL,
        "seq": supervisor.ticks.count,
        "monotonic_ns": int(now_s * 1e9),
        "state": machine.state.value,
        "armed": machine.armed,
        "held": bool(supervisor.holders),
        "reasons": machine_state.names(machine.reasons),
        "latched": machine_state.names(machine.latched),
        "blocking": machine_state.blocking(machine, supervisor.inputs),
        "limited_by": list(supervisor.envelope.limited_by),
        "selected": driving,
        "probation": on_probation,
        "reverted": selection.reverted,
        "unheard": list(supervisor.stops.unheard.sentences),
    }


def status(supervisor: Supervisor, now_s: float) -> dict[str, object]:
    """The reply to `status`: the state, and everything it was derived from."""
    (linear, angular), source = supervisor.speed
    return {
        **state(supervisor, now_s),
        "version": _VERSION,
        "slots": {slot: _slot(supervisor, slot, now_s) for slot in supervisor.views},
        "speed": {"linear": linear, "angular": angular, "source": source},
        "command": supervisor.voice_command.document(now_s),
        "battery": supervisor.sources.battery,
        **supervisor.stops.document(now_s),
        "holders": [{"owner": owner, "reason": reason} for owner, reason in supervisor.holders.items()],
        "sources": supervisor.sources.document(now_s),
        "limits": asdict(supervisor.limiter.limits),
        "thresholds": asdict(supervisor.envelope.thresholds),
        "envelope": {
            "nearest_m": _rounded(supervisor.sources.obstacles.nearest_m if supervisor.sources.obstacles else None),
            "cap": None if math.isinf(supervisor.envelope.cap) else round(supervisor.envelope.cap, 3),
            "reaction_ms": round(supervisor.envelope.reaction_s * 1e3, 1),
        },
        "ticks": supervisor.ticks.document(),
    }


def _rounded(distance_m: float | None) -> float | None:
    return None if distance_m is None or not math.isfinite(distance_m) else round(distance_m, 3)


def _slot(supervisor: Supervisor, slot: str, now_s: float) -> dict[str, object]:
    view = supervisor.views[slot]
    driver = supervisor.selection.driver
    age = view.age_s(now_s)
    refusal = view.refusal(now_s)
    known = view.release is not None
    return {
        "release": view.release,
        "epoch": view.epoch if known else None,
        "seq": view.seq if known else None,
        "age_ms": None if age is None else round(age * 1e3, 1),
        "actions": view.actions,
        "run": view.run,
        "selectable": refusal is None,
        "refusal": refusal,
        **{name: view.counts[name] for name in ("non_finite", "wrong_width", "late", "limited")},
        "disagreement": None if driver is None or driver is view else view.disagreement.document(),
    }


def log_record(supervisor: Supervisor, command: Command, now_s: float) -> dict[str, object]:
    """A line of `/safety_log` between events.

    `processing_time` is the driver's action age (s), `safety_score` what its model says of itself, or null: a learned
    score is told and is never a guard.
    """
    driver = supervisor.selection.driver
    chunk = None if driver is None else driver.chunk
    return {
        "timestamp": time.time(),
        "safety_score": None if chunk is None else chunk.score,
        "processing_time": None if driver is None else driver.age_s(now_s),
        "command": {"linear_x": command[0], "angular_z": command[1]},
        "battery_level": supervisor.sources.battery,
    }
