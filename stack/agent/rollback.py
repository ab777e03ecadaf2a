"""Back to a release this robot has committed before: hot while a trial lasts, warm after it. No source is asked and nothing is built."""

from __future__ import annotations

import time
from contextlib import suppress

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.change import RESTORE_S, Change
from stack.agent.fit import switchable
from stack.agent.gates import POLL_S, Patience
from stack.agent.host import Host, Progress
from stack.agent.reports import Result
from stack.agent.robot_gate import standing
from stack.agent.supervisor import OWNER
from stack.agent.switch import runs_current

_ZERO_S = 10.0
_ABORT_S = 90.0
_ABORTABLE = ("WAIT", "SWITCH", "PROBATION")


def call_off(host: Host) -> Result | None:
    """End a switch that is under way; None when there is none that can be ended."""
    active = host.active
    if active is None or host.trial is not None or active.stage not in _ABORTABLE:
        return None
    host.abort.set()
    deadline = time.monotonic() + _ABORT_S
    while host.active is active and time.monotonic() < deadline:
        host.stopping.wait(0.05)
    current = host.store.current()
    if current == active.release:
        return None
    release = host.store.find(current)
    version = None if release is None else release.version
    return Result("rollback", True, current, version, "VERIFY_ROLLBACK")


def roll_back(host: Host, target: Digest, gate: str, progress: Progress) -> Result:
    """Warm: start the target in the free slot, let it drive, commit. Raises RefusedError before anything stops when it is not complete here."""
    if target not in host.store.floor().committed:
        raise RefusedError(f"{target}: never committed on this robot; deploy it instead of rolling back to it")
    if missing := host.store.missing(target):
        raise RefusedError(f"{target}: not complete on this robot ({', '.join(missing)} missing); stage it first")
    release = switchable(host, target)
    if runs_current(host, release):
        progress("COMMIT", f"{release.name} {release.version} already drives.")
        return Result("rollback", False, target, release.version, "COMMIT")
    change = Change(host, release, "rollback", progress)
    if change.old == target:
        change.slot, change.old_slot, change.old = change.old_slot or change.slot, None, None
    try:
        _bring_up(change, gate)
    except (HomeportError, OSError) as error:
        failure = change.failure(error)
        if change.go_back(failure) is None:
            with suppress(HomeportError):
                host.supervisor.unhold(OWNER)
        raise change.failed(failure) from error
    return change.commit()


def _bring_up(change: Change, gate: str) -> None:
    with change.deployment.step("WAIT", gate=gate):
        change.start()
        change.pass_gate("restore", Patience(0.3, change.host.config.gate.ready_s))
        if gate == "idle":
            _come_to_rest(change.host)
    change.select(RESTORE_S)
    with change.deployment.step("VERIFY_ROLLBACK"):
        change.pass_gate("restore", Patience(0.5, RESTORE_S))


def _come_to_rest(host: Host) -> None:
    """A rollback does not wait for the robot to be idle: it commands zero and then changes. The commit gives the hold back."""
    host.supervisor.hold(OWNER, "rolling back")
    deadline = time.monotonic() + _ZERO_S
    while (view := host.supervisor.try_view()) is None or not standing(view):
        if time.monotonic() >= deadline or host.abort.wait(POLL_S):
            raise RefusedError(f"the robot does not come to rest within {_ZERO_S:.0f} s under hold; look at it")
