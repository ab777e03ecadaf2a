"""Back to a release this robot has committed before: hot while a probation lasts, warm after it.

No source is asked and nothing is built.
"""

from __future__ import annotations

import time

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.change.candidate import RESTORE_S, Candidate
from stack.agent.change.fit import check_complete, switchable
from stack.agent.change.permission import Permission
from stack.agent.change.switch import runs_current
from stack.agent.disk.journal import STAGING
from stack.agent.disk.revocations import Revocations
from stack.agent.gate.watch import Patience
from stack.agent.host import Host, Progress
from stack.agent.reports import FailedError, Result

_WAIT_S = 30.0
_ABORT_S = 90.0
_ABORTABLE = (*STAGING, "WAIT", "SWITCH", "PROBATION")


def call_off(host: Host, progress: Progress) -> Result | None:
    """End what is under way: a probation, a switch, a staging; None when there is nothing that can be ended.

    Raises FailedError when the way back did not work, HomeportError when the end is not in sight: neither is a success.
    """
    work = host.work
    active = work.active
    if active is None or (work.probation is None and active.stage not in _ABORTABLE):
        return None
    work.call_off(_ABORT_S, host.stopping)
    if (probation := work.probation) is not None:  # also one that has begun meanwhile
        progress("ROLLBACK", "The release on probation gives the wheel back.")
        return probation.roll_back()
    current = host.store.current()
    if current == active.release:
        return None
    release = host.store.find(current)
    version = None if release is None else release.version
    result = Result("rollback", True, current, version, "VERIFY_ROLLBACK")
    if active.restore is not None:
        result.stage = "FAILED"
        result.failure = active.restore
        raise FailedError(active.restore.message, result)
    return result


def roll_back(host: Host, target: Digest, kind: str, now: bool, progress: Progress, undo: bool = False) -> Result:
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
    permission = Permission(host, "rollback", kind, now)
    permission.wait(time.monotonic() + _WAIT_S)
    candidate = Candidate(host, release, "rollback", progress, kind)
    candidate.undo = undo
    if candidate.old == target:
        candidate.slot = candidate.old_slot or candidate.slot
        candidate.old_slot = None
        candidate.old = None
    try:
        _bring_up(candidate, permission)
    except (HomeportError, OSError) as error:
        failure = candidate.failure(error)
        candidate.go_back(failure)
        raise candidate.failed(failure) from error
    return candidate.commit()


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


def _bring_up(candidate: Candidate, permission: Permission) -> None:
    """A rollback does not wait for the robot to be idle: it commands zero and then changes.

    The commit gives the hold back.
    """
    settings = candidate.host.config.gate
    with candidate.deployment.step("WAIT", permission=permission.kind, cutover=candidate.cutover):
        candidate.start()
        candidate.pass_gate("restore", Patience(settings.restore_s, settings.ready_s))
        if permission.kind == "idle":
            candidate.come_to_rest("rolling back")
        permission.wait(time.monotonic())
    candidate.select(RESTORE_S, permission)
    with candidate.deployment.step("VERIFY_ROLLBACK"):
        candidate.pass_gate("restore", Patience(settings.restore_s, RESTORE_S))
