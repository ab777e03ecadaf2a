"""May the robot be touched now? Fails closed: what is not known blocks.

Speed, battery and e-stop are known from the supervisor, the hours from its windows, and the rest (docked, no payload,
no goal) from the site's hook.
"""

from __future__ import annotations

import threading
import time

from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.gate.watch import POLL_S
from stack.agent.host import Host
from stack.agent.settings.hook import HookAnswer
from stack.agent.settings.windows import outlook
from stack.agent.supervisor import SupervisorClient, View

ZERO_LINEAR = 0.01
ZERO_ANGULAR = 0.02
_ZERO_S = 10.0
_HOOK_EVERY_S = 2.0


def standing(view: View) -> bool:
    """Whether the robot's measured speed is zero (0.01 m/s, 0.02 rad/s)."""
    return abs(view.linear) <= ZERO_LINEAR and abs(view.angular) <= ZERO_ANGULAR


def blockers(view: View, kind: str, battery_min: float, has_battery: bool) -> list[str]:
    """Why the robot may not be switched now. `kind` is idle or moving, which drops the demand for zero
    speed and nothing else.

    The supervisor keeps the last that a source has said: of one that is silent it is not known any more.
    """
    reasons = []
    silent = view.faulty_sources
    if kind == "idle" and "odom" in silent:
        reasons.append("its speed is unknown, odometry is not to be trusted")
    elif kind == "idle" and not standing(view):
        reasons.append(f"it moves at {view.linear:.2f} m/s and {view.angular:.2f} rad/s")
    if has_battery and (view.battery is None or "battery" in silent):
        reasons.append("its battery is unknown")
    elif has_battery and view.battery is not None and view.battery < battery_min:
        reasons.append(f"its battery is at {view.battery:.0%}, {battery_min:.0%} needed")
    if any("estop" in reason for reason in view.latched):
        reasons.append("its e-stop is latched")
    elif "estop" in silent:
        reasons.append("its e-stop is not heard")
    return reasons


class Permission:
    """The robot's permission to be changed.

    It is asked for until it is given, good for some seconds, and asked for anew just before SWITCH.

    Which is asked depends on `verb`. A rollback asks the hook alone: it commands zero itself, and is not bound to
    windows. With `now` somebody takes the answer upon himself: what the supervisor knows still counts, but for the
    speed, and nothing is waited for.
    """

    def __init__(self, host: Host, verb: str, kind: str, now: bool) -> None:
        self._host = host
        self._verb = verb
        self.kind = kind
        """idle, or moving for one that is given while the robot drives."""
        self._now = now
        self._until_s = 0.0
        self._answer = HookAnswer("its hook was not asked yet")
        self._next_hook_s = 0.0
        self.reasons: list[str] = []
        """What stands in the way, as it was last seen."""

    @property
    def left_s(self) -> float:
        """How long it still holds."""
        return max(0.0, self._until_s - time.monotonic())

    def document(self) -> dict[str, object]:
        """Schema agent, `wait` of the status."""
        return {"gate": self.kind, "for": self.reasons, "lease_s": round(self.left_s, 1) or None}

    def wait(self, deadline_s: float) -> None:
        """Ask anew until nothing blocks.

        `deadline_s` is monotonic. Raises RefusedError with the reasons at the deadline, or on an abort.
        """
        self._until_s = 0.0
        host = self._host
        host.work.waits_for(self)
        while reasons := self._ask():
            late = self._now or time.monotonic() >= deadline_s
            if late or host.work.abort.wait(POLL_S):
                why = "waited long enough" if late else "called off"
                raise RefusedError(f"{host.robot().name}: {why}: {'; '.join(reasons)}; what ran before keeps running")

    def check(self) -> None:
        """Raises RefusedError when it has expired."""
        if not self.left_s:
            raise RefusedError(
                "the robot's permission to be changed has expired meanwhile; try again, or give it a longer lease_s"
            )

    def _ask(self) -> list[str]:
        """Ask once, the cheap questions first."""
        lease_s = self._host.config.permission.lease_s
        reasons = [] if self._verb == "rollback" else [*self._window(), *self._robot()]
        hook = self._host.config.hook
        if not reasons and hook is not None and not self._now:
            if (began := time.monotonic()) >= self._next_hook_s:
                self._answer = hook.ask(self.kind)
                self._next_hook_s = began + _HOOK_EVERY_S
            reasons = [self._answer.reason] if self._answer.reason is not None else []
            lease_s = lease_s if self._answer.lease_s is None else self._answer.lease_s
        if not reasons:
            self._until_s = time.monotonic() + lease_s
            self._next_hook_s = 0.0
        self.reasons = reasons
        return reasons

    def _window(self) -> list[str]:
        seen = None if self._now else outlook(self._host.config.windows, self._host.layout)
        return [] if seen is None or seen.reason is None else [seen.reason]

    def _robot(self) -> list[str]:
        host = self._host
        robot = host.robot()
        battery_min = max(host.config.permission.battery_min, robot.battery_floor)
        try:
            view = host.supervisor.view()
        except HomeportError as error:
            return [str(error)]
        return blockers(view, "moving" if self._now else self.kind, battery_min, robot.sources["battery"].present)


def come_to_rest(supervisor: SupervisorClient, owner: str, reason: str, stop: threading.Event) -> None:
    """Command zero and see the robot stand.

    Raises RefusedError when it does not; the hold stays until `unhold`.
    """
    supervisor.hold(owner, reason)
    deadline = time.monotonic() + _ZERO_S
    while (view := supervisor.try_view()) is None or not standing(view):
        if time.monotonic() >= deadline or stop.wait(POLL_S):
            raise RefusedError(f"the robot does not come to rest within {_ZERO_S:.0f} s under hold; look at it")
