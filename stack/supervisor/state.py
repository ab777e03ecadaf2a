"""The safety state machine, as a pure function of (machine, inputs).

    BOOT ──every source heard──▶ SAFE_STOP ──arm──▶ ARMED ⇄ RUN ⇄ LIMITED
                                     ▲                │ fault, or hold
                                     ├── STOPPING ◀───┘
    any state ──latched reason──▶ LATCHED ──reset──▶ SAFE_STOP

Reasons are bits. A *latched* reason stays until `reset`, which needs everything healthy and zero speed, and does not
arm. A *fault* disarms: when it has passed the robot stays in SAFE_STOP until somebody arms it again, or, where
robot.toml asks for it (`auto_resume_s`), until it has been healthy for that long after one of the faults in
`RESUMABLE`. `HOLD` neither latches nor disarms. Under hold the reasons of the slot do not disarm either: that is how
one slot is exchanged for another on a robot without room for two. An action with nothing to do, a stop command and a
re-selected fallback are not reasons at all.

Two ways to stop: LATCHED and the reasons in `AT_ONCE` command zero in the same tick; everything else ramps down at the
limits' slope, with zero behind it when the ramp takes too long.
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
    SCAN_BAD = 16384
    ODOM_BAD = 32768
    ESTOP_STALE = 65536
    OBSTACLE = 131072
    OVERRUN = 262144
    SECOND_WRITER = 524288
    UNHEARD = 1048576


NONE = Reason(0)
LATCHING = Reason.NON_FINITE | Reason.WRONG_WIDTH | Reason.ESTOP | Reason.EXCEPTION | Reason.SECOND_WRITER
OF_SLOT = Reason.NO_SLOT | Reason.SILENCE | Reason.ACTION_STALE | Reason.OTHER_RELEASE
OF_BATTERY = Reason.BATTERY_STALE | Reason.BATTERY_LOW
OF_SENSORS = Reason.SCAN_STALE | Reason.SCAN_BAD | Reason.ODOM_STALE | Reason.ODOM_BAD | Reason.ESTOP_STALE
FAULTS = OF_SENSORS | OF_BATTERY | OF_SLOT | Reason.CLOCK_STEP | Reason.OBSTACLE | Reason.OVERRUN | Reason.UNHEARD
AT_ONCE = LATCHING | (FAULTS & ~OF_BATTERY & ~Reason.OBSTACLE)
RESUMABLE = Reason.OBSTACLE | Reason.SCAN_STALE | Reason.ODOM_STALE
"""What a robot may go on from by itself.

An obstacle however long it stood there, and a source that was late for no longer than `RESUME_WITHIN_S`.
"""
RESUME_WITHIN_S = 1.0

_LIMITED_DWELL_S = 0.5
MAY_MOVE = frozenset({State.ARMED, State.RUN, State.LIMITED})


class Motion(Enum):
    """What this tick commands."""

    ZERO = "zero"
    RAMP = "ramp"
    DRIVE = "drive"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything one tick knows.

    `reasons` are those that hold now; `commanded_zero` and `standing` speak of the last tick.
    """

    now_s: float
    reasons: Reason = NONE
    heard_all: bool = True
    """Every source has been heard at least once since the start."""
    live: bool = False
    """The selected slot has a step due, and no stop was commanded."""
    clamped: bool = False
    """The command is held below what the slot asks for."""
    way_free: bool = True
    """Nothing stands any more where something stepped into the way."""
    commanded_zero: bool = True
    standing: bool = True
    arm: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """The state between two ticks. Times are monotonic seconds."""

    ramp_limit_s: float = 1.0
    auto_resume_s: float | None = None
    state: State = State.BOOT
    armed: bool = False
    reasons: Reason = NONE
    latched: Reason = NONE
    limited_until_s: float = float("-inf")
    ramp_since_s: float | None = None
    motion: Motion = Motion.ZERO
    stopped_s: float | None = None
    """Since when it waits to go on by itself; None: it does not."""
    healthy_s: float | None = None
    """Since when nothing is wrong while it waits."""


def names(reasons: Reason) -> list[str]:
    """The bits as words, in a fixed order."""
    return [str(reason.name).lower() for reason in Reason if reasons & reason]


def blocking(machine: Machine, inputs: Inputs) -> list[str]:
    """What `arm` is refused for."""
    words = names(machine.latched | (inputs.reasons & ~Reason.HOLD))
    if not (machine.armed or inputs.standing):
        words.append("moving")
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
    before = machine
    machine = _waiting(machine, inputs, latched)
    armed = not latched and _armed(machine, inputs)
    machine = replace(machine, armed=armed, reasons=inputs.reasons, latched=latched, limited_until_s=limited_until_s)
    if before.armed and not armed and machine.auto_resume_s is not None and not latched | (inputs.reasons & ~RESUMABLE):
        machine = replace(machine, stopped_s=inputs.now_s, healthy_s=None)
    return _with_motion(replace(machine, state=_state(machine, inputs)), inputs)


def _waiting(machine: Machine, inputs: Inputs, latched: Reason) -> Machine:
    """Whether the robot may still go on by itself: nothing else came up, and a source was not away for too long."""
    if machine.stopped_s is None:
        return machine
    late = inputs.reasons & ~Reason.OBSTACLE and inputs.now_s - machine.stopped_s > RESUME_WITHIN_S
    if latched or inputs.reset or inputs.reasons & ~(RESUMABLE | Reason.HOLD) or late or machine.armed:
        return replace(machine, stopped_s=None, healthy_s=None)
    since = inputs.now_s if machine.healthy_s is None else machine.healthy_s
    return replace(machine, healthy_s=since if inputs.way_free and not inputs.reasons else None)


def _armed(machine: Machine, inputs: Inputs) -> bool:
    if inputs.arm and not inputs.reset and inputs.heard_all and inputs.standing and not inputs.reasons & FAULTS:
        return True
    if machine.stopped_s is not None and machine.healthy_s is not None and machine.auto_resume_s is not None:
        return inputs.now_s - machine.healthy_s >= machine.auto_resume_s
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
