"""The safety state machine, as a pure function of (machine, inputs).

    BOOT ──every source heard──▶ SAFE_STOP ──arm──▶ ARMED ⇄ RUN ⇄ LIMITED
                                     ▲                │ fault, or hold
                                     ├── STOPPING ◀───┘
    any state ──latched reason──▶ LATCHED ──reset──▶ SAFE_STOP

Reasons are bits. A *latched* reason stays until `reset`, which needs everything healthy and zero speed, and does not arm. A *fault* disarms: when it
has passed the robot stays in SAFE_STOP until somebody arms it again. `HOLD` neither latches nor disarms. Under hold the reasons of the slot do not
disarm either: that is how one slot is exchanged for another on a robot without room for two.
An action with nothing to do, a stop command and a re-selected fallback are not reasons at all.

Two ways to stop: LATCHED and the reasons in `AT_ONCE` command zero in the same tick; everything else ramps down at the limits' slope, with zero
behind it when the ramp takes too long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, IntFlag


class State(Enum):
    """What the robot may do."""

    BOOT = "BOOT"
    SAFE_STOP = "SAFE_STOP"
    ARMED = "ARMED"
    RUN = "RUN"
    LIMITED = "LIMITED"
    STOPPING = "STOPPING"
    LATCHED = "LATCHED"


class Reason(IntFlag):
    """Why the robot may not move."""

    SCAN_STALE = 1
    ODOM_STALE = 2
    BATTERY_STALE = 4
    BATTERY_LOW = 8
    NO_SLOT = 16
    SILENCE = 32
    ACTION_STALE = 64
    OTHER_RELEASE = 128
    CLOCK_STEP = 256
    HOLD = 512
    NON_FINITE = 1024
    WRONG_WIDTH = 2048
    ESTOP = 4096
    EXCEPTION = 8192


NONE = Reason(0)
LATCHING = Reason.NON_FINITE | Reason.WRONG_WIDTH | Reason.ESTOP | Reason.EXCEPTION
OF_SLOT = Reason.NO_SLOT | Reason.SILENCE | Reason.ACTION_STALE | Reason.OTHER_RELEASE
OF_BATTERY = Reason.BATTERY_STALE | Reason.BATTERY_LOW
FAULTS = Reason.SCAN_STALE | Reason.ODOM_STALE | OF_BATTERY | OF_SLOT | Reason.CLOCK_STEP
AT_ONCE = LATCHING | (FAULTS & ~OF_BATTERY)

_LIMITED_DWELL_S = 0.5
MAY_MOVE = frozenset({State.ARMED, State.RUN, State.LIMITED})


class Motion(Enum):
    """What this tick commands."""

    ZERO = "zero"
    RAMP = "ramp"
    DRIVE = "drive"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything one tick knows. `reasons` are those that hold now; `commanded_zero` and `standing` speak of the last tick."""

    now_s: float
    reasons: Reason = NONE
    heard_all: bool = True
    """Every source has been heard at least once since the start."""
    live: bool = False
    """The selected slot has a step due, and no stop was commanded."""
    clamped: bool = False
    commanded_zero: bool = True
    standing: bool = True
    arm: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """The state between two ticks. Times are monotonic seconds."""

    ramp_limit_s: float = 1.0
    state: State = State.BOOT
    armed: bool = False
    reasons: Reason = NONE
    latched: Reason = NONE
    limited_until_s: float = float("-inf")
    ramp_since_s: float | None = None
    motion: Motion = Motion.ZERO


def names(reasons: Reason) -> list[str]:
    """The bits as words, in a fixed order."""
    return [str(reason.name).lower() for reason in Reason if reasons & reason]


def blocking(machine: Machine, inputs: Inputs) -> list[str]:
    """What `arm` is refused for."""
    words = names(machine.latched | (inputs.reasons & ~Reason.HOLD))
    return words if words or inputs.heard_all else ["boot"]


def reset_blocking(inputs: Inputs) -> list[str]:
    """What `reset` is refused for."""
    words = names(inputs.reasons & ~Reason.HOLD)
    return words if inputs.standing else [*words, "moving"]


def step(machine: Machine, inputs: Inputs) -> Machine:
    """The machine after one tick."""
    latched = machine.latched | (inputs.reasons & LATCHING)
    if inputs.reset and not reset_blocking(inputs):
        latched = NONE
    limited_until_s = inputs.now_s + _LIMITED_DWELL_S if inputs.clamped else machine.limited_until_s
    armed = not latched and _armed(machine, inputs)
    machine = replace(machine, armed=armed, reasons=inputs.reasons, latched=latched, limited_until_s=limited_until_s)
    return _with_motion(replace(machine, state=_state(machine, inputs)), inputs)


def _armed(machine: Machine, inputs: Inputs) -> bool:
    if inputs.arm and not inputs.reset and inputs.heard_all and not inputs.reasons & FAULTS:
        return True
    disarming = FAULTS & ~OF_SLOT if inputs.reasons & Reason.HOLD else FAULTS
    return machine.armed and not inputs.reasons & disarming


def _state(machine: Machine, inputs: Inputs) -> State:
    if machine.latched:
        return State.LATCHED
    if not inputs.heard_all:
        return State.BOOT
    if not machine.armed or machine.reasons & Reason.HOLD:
        standing_state = State.ARMED if machine.armed else State.SAFE_STOP
        return standing_state if inputs.commanded_zero else State.STOPPING
    if not inputs.live:
        return State.ARMED
    return State.LIMITED if inputs.now_s < machine.limited_until_s else State.RUN


def _with_motion(machine: Machine, inputs: Inputs) -> Machine:
    if machine.state in (State.RUN, State.LIMITED):
        return replace(machine, motion=Motion.DRIVE, ramp_since_s=None)
    since = inputs.now_s if machine.ramp_since_s is None else machine.ramp_since_s
    late = inputs.now_s - since > machine.ramp_limit_s
    at_once = machine.state in (State.LATCHED, State.BOOT) or bool(machine.reasons & AT_ONCE)
    return replace(machine, motion=Motion.ZERO if at_once or late else Motion.RAMP, ramp_since_s=since)
