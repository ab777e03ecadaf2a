"""The supervisor's own thresholds. What differs between robots stands in robot.toml; these hold for every robot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds unless the name says otherwise."""

    tick_s: float = 0.02
    silence_s: float = 0.1
    """No message of the selected slot for this long commands zero, however many steps remain."""
    stamp_max_age_s: float = 1.0
    """Oldest observation an action may be derived from: a 300 ms policy that executes 8 steps of 50 ms stays below."""
    stamp_future_s: float = 0.05
    clock_step_s: float = 0.05
    clock_settle_s: float = 1.0
    clock_give_up_s: float = 5.0
    """Stamps that are still wrong this long after a clock step are the slot's fault."""
    default_step_s: float = 0.05
    step_grace_s: float = 0.02
    """One tick of patience after the last step, so that jitter of one tick does not dent the speed."""
    selectable_run: int = 20
    excess: float = 1.1
    """A request above this multiple of a limit counts as out of limits."""
    excess_window: int = 25
    excess_count: int = 5
    disagreement: float = 0.2
    """Part of the limit by which two slots must differ to count as disagreeing."""
    limited_dwell_s: float = 0.5
    standstill_linear: float = 0.02
    standstill_angular: float = 0.05
    battery_hysteresis: float = 0.05
    command_life_s: float | None = None
    """How long a voice command lives; None: until replaced or stopped."""
