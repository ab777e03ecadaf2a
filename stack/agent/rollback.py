"""Back to a release this robot has committed before: hot while a trial lasts, warm after it. No source is asked and nothing is built."""

from __future__ import annotations

import time

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.release import Release
from stack.agent.change import RESTORE_S, CalledOff, Change
from stack.agent.deployment import Deployment
from stack.agent.host import Host, Progress
from stack.agent.reports import FailedError, Failure, Result
from stack.agent.robot_gate import standing
from stack.agent.supervisor import OWNER
from stack.agent.switch import GateFailed, runs_current, switchable
from stack.agent.trial import commit_or_go_back, failed_result
from stack.agent.watch import Patience, wait_until

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
    version = None if current is None else host.store.load(current).version
    return Result("rollback", True, current, version, "VERIFY_ROLLBACK")


def roll_back(host: Host, target: Digest, gate: str, progress: Progress) -> Result:
    """Warm: start the target in the free slot, let it drive, commit. Raises RefusedError before anything stops when it is not complete here."""
    release = _lawful(host, target)
    if runs_current(host, release):
        progress("COMMIT", f"{release.name} {release.version} already drives.")
        return Result("rollback", False, target, release.version, "COMMIT")
    host.abort.clear()
    change = Change(host, Deployment(host, target, progress), release)
    if change.old == target:
        change.slot, change.old_slot, change.old = change.old_slot or change.slot, None, None
    try:
        _bring_up(change, gate)
    except (HomeportError, OSError) as error:
        failure = _failure(change, error)
        if change.switched_ns is None:
            change.abandon(failure, quarantine=False)
        else:
            change.go_back(failure, quarantine=False)
        host.supervisor.drop_hold()
        raise FailedError(failure.message, failed_result("rollback", change, failure)) from error
    commit_or_go_back("rollback", change)
    return Result("rollback", True, target, release.version, "COMMIT", gates=tuple(change.gates))


def _lawful(host: Host, target: Digest) -> Release:
    """A complete release that this robot has committed before."""
    if target not in host.store.floor().committed:
        raise RefusedError(f"{target}: never committed on this robot; deploy it instead of rolling back to it")
    if missing := host.store.missing(target):
        raise RefusedError(f"{target}: not complete on this robot ({', '.join(missing)} missing); stage it first")
    return switchable(host, target)


def _bring_up(change: Change, gate: str) -> None:
    host = change.host
    with change.deployment.step("WAIT", gate=gate):
        change.start()
        _pass(change, Patience(0.3, host.config.gate.ready_s), "WAIT")
        if gate == "idle":
            _come_to_rest(host)
    change.select(RESTORE_S)
    with change.deployment.step("VERIFY_ROLLBACK"):
        _pass(change, Patience(0.5, RESTORE_S), "VERIFY_ROLLBACK")


def _pass(change: Change, patience: Patience, stage: str) -> None:
    result = change.pass_gate("restore", patience)
    if not result.passed:
        raise GateFailed(result, Failure.of_gate(change.release.digest, stage, result))


def _come_to_rest(host: Host) -> None:
    """A rollback does not wait for the robot to be idle: it commands zero and then changes. The commit gives the hold back."""
    host.supervisor.hold(OWNER, "rolling back")

    def at_rest() -> bool:
        view = host.supervisor.try_view()
        return view is not None and standing(view)

    if not wait_until(at_rest, _ZERO_S, host.abort):
        raise RefusedError(f"the robot does not come to rest within {_ZERO_S:.0f} s under hold; look at it")


def _failure(change: Change, error: HomeportError | OSError) -> Failure:
    if isinstance(error, GateFailed):
        return error.failure
    words = "called off" if isinstance(error, CalledOff) else str(error)
    return Failure(change.release.digest, change.deployment.stage, "error", None, None, words)
