"""Back to a release this robot has committed before: hot while a trial lasts, warm after it.

No source is asked and nothing is built.
"""

from __future__ import annotations

import time

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.change import RESTORE_S, Change
from stack.agent.fit import check_complete, switchable
from stack.agent.gates import Patience
from stack.agent.host import Host, Progress
from stack.agent.journal import STAGING
from stack.agent.reports import FailedError, Result
from stack.agent.revocations import Revocations
from stack.agent.robot_gate import Permission
from stack.agent.switch import runs_current

_WAIT_S = 30.0
_ABORT_S = 90.0
_ABORTABLE = (*STAGING, "WAIT", "SWITCH", "PROBATION")


def call_off(host: Host, progress: Progress) -> Result | None:
    """End what is under way: a trial, a switch, a staging; None when there is nothing that can be ended.

    Raises FailedError when the way back did not work, HomeportError when the end is not in sight: neither is a success.
    """
    active = host.active
    if active is None or (host.trial is None and active.stage not in _ABORTABLE):
        return None
    host.abort.set()
    fence, deadline = host.claim.fence, time.monotonic() + _ABORT_S
    while host.trial is None and (host.active is active or 0 < fence == host.claim.fence):
        if host.stopping.wait(0.05) or time.monotonic() >= deadline:
            raise HomeportError(f"{active.identity}: its end was asked for and takes longer; ask for the status")
    if (trial := host.trial) is not None:  # also one that has begun meanwhile
        progress("ROLLBACK", "The release on probation gives the wheel back.")
        return trial.roll_back()
    current = host.store.current()
    if current == active.release:
        return None
    release = host.store.find(current)
    result = Result("rollback", True, current, None if release is None else release.version, "VERIFY_ROLLBACK")
    if active.restore is not None:
        result.stage, result.failure = "FAILED", active.restore
        raise FailedError(active.restore.message, result)
    return result


def roll_back(host: Host, target: Digest, gate: str, now: bool, progress: Progress, undo: bool = False) -> Result:
    """Warm: start the target in the free slot, let it drive, commit.

    Raises RefusedError before anything stops when it is not complete here. With `undo` the robot is afterwards as if
    the release that drives had never been committed: a deployment takes itself back.
    """
    check_target(host, target)
    release = switchable(host, target)
    host.runtime.ensure(release)
    if runs_current(host, release):
        progress("COMMIT", f"{release.name} {release.version} already drives.")
        return Result("rollback", False, target, release.version, "COMMIT")
    permission = Permission(host, "rollback", gate, now)
    host.abort.clear()
    permission.wait(time.monotonic() + _WAIT_S)
    change = Change(host, release, "rollback", progress, gate)
    change.undo = undo
    if change.old == target:
        change.slot, change.old_slot, change.old = change.old_slot or change.slot, None, None
    try:
        _bring_up(change, permission)
    except (HomeportError, OSError) as error:
        failure = change.failure(error)
        change.go_back(failure)
        raise change.failed(failure) from error
    return change.commit()


def pin(host: Host, digest: Digest | None) -> Result:
    """Make a release the fallback.

    Raises RefusedError when it was never committed here or could not be brought back now.
    """
    if digest is None:
        raise RefusedError("pin: no release was committed on this robot yet; deploy one first")
    check_target(host, digest)
    release = switchable(host, digest)
    changed = host.store.fallback() != digest
    if changed:
        host.store.pin(digest)
    return Result("pin", changed, digest, release.version)


def check_target(host: Host, target: Digest) -> None:
    """Raises RefusedError when this robot has not committed it, or has lost a part of it."""
    if target not in host.store.floor().committed:
        raise RefusedError(f"{target}: never committed on this robot; deploy it first")
    Revocations.load(host.layout).check(host.layout, target)
    check_complete(host, target)


def _bring_up(change: Change, permission: Permission) -> None:
    """A rollback does not wait for the robot to be idle: it commands zero and then changes.

    The commit gives the hold back.
    """
    settings = change.host.config.gate
    with change.deployment.step("WAIT", gate=permission.gate, cutover=change.cutover):
        change.start()
        change.pass_gate("restore", Patience(settings.restore_s, settings.ready_s))
        if permission.gate == "idle":
            change.come_to_rest("rolling back")
        permission.wait(time.monotonic())
    change.select(RESTORE_S, permission)
    with change.deployment.step("VERIFY_ROLLBACK"):
        change.pass_gate("restore", Patience(settings.restore_s, RESTORE_S))
