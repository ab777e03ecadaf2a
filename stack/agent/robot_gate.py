"""May the robot be touched now? Fails closed: what is not known blocks. The e-stop is known from the supervisor."""

from __future__ import annotations

import time

from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.gates import POLL_S
from stack.agent.host import Host
from stack.agent.supervisor import View

GATES = ("idle", "moving")
ZERO_LINEAR = 0.01
ZERO_ANGULAR = 0.02


def standing(view: View) -> bool:
    """Whether the robot's measured speed is zero (0.01 m/s, 0.02 rad/s)."""
    return abs(view.linear) <= ZERO_LINEAR and abs(view.angular) <= ZERO_ANGULAR


def blockers(view: View, gate: str, battery_min: float, has_battery: bool) -> list[str]:
    """Why the robot may not be switched now. `moving` drops the demand for zero speed, nothing else."""
    reasons = []
    if gate == "idle" and not standing(view):
        reasons.append(f"it moves at {view.linear:.2f} m/s and {view.angular:.2f} rad/s")
    if has_battery and view.battery is None:
        reasons.append("its battery is unknown")
    elif has_battery and view.battery is not None and view.battery < battery_min:
        reasons.append(f"its battery is at {view.battery:.0%}, {battery_min:.0%} needed")
    if any("estop" in reason for reason in view.latched):
        reasons.append("its e-stop is latched")
    return reasons


def wait_for_robot(host: Host, gate: str, deadline_s: float) -> None:
    """Poll until nothing blocks. `deadline_s` is monotonic. Raises RefusedError with the reasons at the deadline, or on an abort."""
    robot = host.robot()
    battery_min = max(host.config.gate.battery_min, robot.battery_floor)
    has_battery = robot.sources["battery"].present
    while True:
        try:
            reasons = blockers(host.supervisor.view(), gate, battery_min, has_battery)
        except HomeportError as error:
            reasons = [str(error)]
        if not reasons:
            return
        late = time.monotonic() >= deadline_s
        if late or host.abort.wait(POLL_S):
            why = "waited long enough" if late else "called off"
            raise RefusedError(f"{robot.name}: {why}: {'; '.join(reasons)}; what ran before keeps running")
