"""From READY to COMMIT.

The candidate warms beside what drives, is compared with it, drives on probation, and is committed or taken back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.release import Release
from stack.agent.change.candidate import Candidate
from stack.agent.change.fit import switchable
from stack.agent.change.permission import Permission
from stack.agent.change.probation import OpenProbation
from stack.agent.gate.judge import blames
from stack.agent.gate.samples import observe, verified
from stack.agent.gate.watch import Patience
from stack.agent.host import Host, Progress
from stack.agent.machine.os_slots import check_settled
from stack.agent.reports import CalledOff, Failure, GateFailed, Result
from stack.agent.runtime import PolicyEndedError


@dataclass(frozen=True, slots=True)
class SwitchRequest:
    """How to switch.

    `deadline_s` bounds the wait for robot and window, and with `commit` "wait" the wait for the commit; `now` waits for
    neither and asks no hook.
    """

    release: Digest
    commit: str
    deadline_s: float
    probation_s: float
    permission: str
    now: bool


def switch(host: Host, request: SwitchRequest, progress: Progress) -> Result:
    """Raises RefusedError when nothing was tried, FailedError when the candidate was and the old release is back."""
    release = switchable(host, request.release)
    if runs_current(host, release):
        progress("COMMIT", f"{release.name} {release.version} already drives.")
        return Result("switch", False, release.digest, release.version, "COMMIT")
    check_settled(host.layout)
    permission = Permission(host, "switch", request.permission, request.now)
    candidate = Candidate(host, release, "switch", progress, request.permission)
    wait = request.commit == "wait"
    try:
        _warm_up(candidate, request, permission)
        patience = Patience.probation(request.probation_s, release)
        candidate.select(patience.deadline_s + (request.deadline_s if wait else 0.0), permission)
        candidate.unhold()
        with candidate.deployment.step("PROBATION", seconds=request.probation_s) as done:
            done["gate"] = candidate.pass_gate("probation", patience).document()
    except (HomeportError, OSError) as error:
        code = error.exit_code if isinstance(error, HomeportError) else 1
        if isinstance(error, CalledOff) and candidate.switched_ns is not None:
            candidate.give_back()
            failure = Failure(release.digest, "PROBATION", "rolled back on request", "request")
        else:
            failure = candidate.failure(error)
            # A release is put in quarantine for what it did, not for a silent supervisor or a broken sensor.
            blamed = isinstance(error, PolicyEndedError) or (isinstance(error, GateFailed) and blames(error.gate))
            candidate.go_back(failure, blamed)
        raise candidate.failed(failure, code) from error
    if wait:
        OpenProbation(candidate, request.deadline_s).start()
        return candidate.result("PROBATION")
    return candidate.commit()


def runs_current(host: Host, release: Release) -> bool:
    """Whether this release is committed, verified and at the wheel."""
    slot = host.store.current_slot()
    if slot is None or host.store.current() != release.digest:
        return False
    sample = observe(host, slot)
    drives = sample.view is not None and sample.view.drives(slot, release.digest)
    return drives and verified(host, release.digest, sample)


def _warm_up(candidate: Candidate, request: SwitchRequest, permission: Permission) -> None:
    """WAIT: for robot and window, for the candidate, and for robot and window again.

    The old release is not touched where there is room for both.
    """
    settings = candidate.host.config.gate
    deadline = time.monotonic() + request.deadline_s
    with candidate.deployment.step(
        "WAIT", permission=request.permission, now=request.now, cutover=candidate.cutover
    ) as done:
        permission.wait(deadline)
        candidate.start()
        result = candidate.pass_gate("shadow", Patience(settings.shadow_s, settings.ready_s + settings.shadow_s))
        done["gate"] = result.document()
        if request.now:
            candidate.come_to_rest("an operator wants the switch now")
        permission.wait(max(deadline, time.monotonic() + 1.0))
