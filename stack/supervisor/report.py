"""What the supervisor says about itself: `/safety/state`, `status` and the other replies, `/safety_log`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from model_registry.core.robot import Limits
from model_registry.core.version import version
from stack.supervisor import state as machine_state
from stack.supervisor.limits import Command, exceeds
from stack.supervisor.selection import Reverted

if TYPE_CHECKING:
    from stack.supervisor.requests import Select
    from stack.supervisor.supervisor import Supervisor

PROTOCOL = 1
_VERSION = version()


def is_clamped(wanted: Command, limits: Limits) -> bool:
    """Whether a request is above a limit at all."""
    return exceeds(wanted, limits, 1.0)


def state(supervisor: Supervisor, now_s: float) -> dict[str, object]:
    """The document of `/safety/state`."""
    machine, selection = supervisor.machine, supervisor.selection
    selected, probation = selection.selected, selection.probation
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
        "selected": None
        if selected is None
        else {
            "slot": selected.slot,
            "release": str(selected.release),
            "epoch": _epoch(supervisor, selected.slot, selected.release.short),
        },
        "probation": None
        if probation is None
        else {"fallback": probation.fallback, "remaining_s": round(max(0.0, probation.until_s - now_s), 3)},
        "reverted": None if selection.reverted is None else _reverted(selection.reverted),
    }


def _epoch(supervisor: Supervisor, slot: str, release: str) -> int | None:
    view = supervisor.views[slot]
    return view.epoch if view.release == release else None


def _reverted(reverted: Reverted) -> dict[str, object]:
    failure = reverted.failure
    return {
        "slot": reverted.selected.slot,
        "release": str(reverted.selected.release),
        "to": reverted.to,
        "reason": failure.word,
        "metric": failure.metric,
        "value": failure.value,
        "threshold": failure.threshold,
        "monotonic_ns": int(reverted.now_s * 1e9),
    }


def status(supervisor: Supervisor, now_s: float) -> dict[str, object]:
    """The reply to `status`: the state, and everything it was derived from."""
    (linear, angular), source = supervisor.speed
    limits = supervisor.robot.limits
    return {
        **state(supervisor, now_s),
        "version": _VERSION,
        "slots": {slot: _slot(supervisor, slot, now_s) for slot in supervisor.views},
        "speed": {"linear": linear, "angular": angular, "source": source},
        "command": supervisor.voice_command.document(now_s),
        "battery": supervisor.sources.battery,
        "holders": [{"owner": owner, "reason": reason} for owner, reason in supervisor.holders.items()],
        "sources": {name: source.document(now_s) for name, source in supervisor.sources.all.items()},
        "limits": {
            "linear": limits.linear,
            "angular": limits.angular,
            "linear_acceleration": limits.linear_acceleration,
            "angular_acceleration": limits.angular_acceleration,
        },
        "ticks": supervisor.ticks.document(),
    }


def _slot(supervisor: Supervisor, slot: str, now_s: float) -> dict[str, object]:
    view, selected = supervisor.views[slot], supervisor.selection.selected
    age = view.age_s(now_s)
    refusal = view.refusal(now_s)
    known = view.release is not None
    shadow = selected is not None and selected.slot != slot
    return {
        "release": view.release,
        "epoch": view.epoch if known else None,
        "seq": view.seq if known else None,
        "age_ms": None if age is None else round(age * 1e3, 1),
        "actions": view.actions,
        "run": view.run,
        "selectable": refusal is None,
        "refusal": refusal,
        "non_finite": view.non_finite,
        "wrong_width": view.wrong_width,
        "late": view.late,
        "limited": view.limited,
        "disagreement": view.disagreement.document() if shadow else None,
    }


def select(supervisor: Supervisor, request: Select, now_s: float) -> dict[str, object]:
    """The reply to `select`: the tick at which it took effect."""
    return {
        "slot": request.wanted.slot,
        "release": str(request.wanted.release),
        "tick": supervisor.ticks.count,
        "monotonic_ns": int(now_s * 1e9),
    }


def hold(supervisor: Supervisor) -> dict[str, object]:
    """The reply to `hold` and `unhold`."""
    return {"held": bool(supervisor.holders), "at_zero": supervisor.standing}


def operator(supervisor: Supervisor) -> dict[str, object]:
    """The reply to `arm`, `reset` and `estop`."""
    machine = supervisor.machine
    return {
        "state": machine.state.value,
        "armed": machine.armed,
        "blocking": machine_state.blocking(machine, supervisor.inputs),
    }


def log_record(supervisor: Supervisor, command: Command, now_s: float) -> dict[str, object]:
    """A line of `/safety_log` between events. `processing_time` is the driver's action age (s); a learned score is never a guard, so there is none."""
    selected = supervisor.selection.selected
    age = supervisor.views[selected.slot].age_s(now_s) if selected is not None else None
    return {
        "timestamp": time.time(),
        "safety_score": None,
        "processing_time": age,
        "command": {"linear_x": command[0], "angular_z": command[1]},
        "battery_level": supervisor.sources.battery,
    }
