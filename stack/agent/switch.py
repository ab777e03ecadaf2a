"""From READY to COMMIT: the candidate warms beside what drives, is compared with it, drives on probation, and is committed or taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IncompatibleError, NotFoundError, RefusedError
from model_registry.core.release import Release
from stack.agent.change import GRACE_S, CalledOff, Change
from stack.agent.deployment import Deployment
from stack.agent.gates import observe
from stack.agent.host import Host, Progress
from stack.agent.reports import FailedError, Failure, GateResult, Result
from stack.agent.robot_gate import wait_for_robot
from stack.agent.stages import check_here, verify_folder
from stack.agent.status import slot_verified
from stack.agent.trial import Trial, commit_or_go_back, failed_result, go_back_on_request
from stack.agent.watch import Patience


@dataclass(frozen=True, slots=True)
class SwitchRequest:
    """`deadline_s` bounds the wait for the robot, and with `commit` "wait" the wait for the commit."""

    release: Digest
    commit: str
    deadline_s: float
    probation_s: float
    gate: str


class GateFailed(HomeportError):
    """A gate said no."""

    def __init__(self, result: GateResult, failure: Failure) -> None:
        super().__init__(failure.message)
        self.gate, self.failure = result, failure


def switch(host: Host, request: SwitchRequest, progress: Progress) -> Result:
    """Raises RefusedError when nothing was tried, FailedError when the candidate was tried and the old release is back."""
    release = switchable(host, request.release)
    if runs_current(host, release):
        progress("COMMIT", f"{release.name} {release.version} already drives.")
        return Result("switch", False, release.digest, release.version, "COMMIT")
    host.abort.clear()
    change = Change(host, Deployment(host, release.digest, progress), release)
    _warm_up(change, request)
    try:
        change.select(request.probation_s + (request.deadline_s if request.commit == "wait" else 0.0))
        _probation(change, request)
    except CalledOff:
        go_back_on_request("switch", change)
        raise FailedError("rolled back on request", failed_result("switch", change, _asked(change))) from None
    except (HomeportError, OSError) as error:
        raise _went_back(change, error) from error
    if request.commit == "wait":
        Trial(change, request.deadline_s).start()
        return Result("switch", True, release.digest, release.version, "PROBATION", gates=tuple(change.gates))
    commit_or_go_back("switch", change)
    return Result("switch", True, release.digest, release.version, "COMMIT", gates=tuple(change.gates))


def switchable(host: Host, digest: Digest) -> Release:
    """A staged release that may drive this robot. Raises NotFoundError or RefusedError."""
    missing = host.store.missing(digest)
    if "release.json" in missing:
        raise NotFoundError(f"{digest}: not on this robot; run `homeport-agent stage {digest}` first")
    if missing:
        raise RefusedError(f"{digest}: not complete on this robot ({', '.join(missing)} missing); stage it again")
    if (why := host.store.quarantined().get(digest)) is not None:
        raise RefusedError(f"{digest}: failed here before ({why}); stage it with --retry to try it again")
    release = verify_folder(host, host.layout.release(digest), digest)
    check_here(host, release)
    contract = Contract.load(host.layout.release(digest) / "model")
    if not contract.drives_a_base:
        raise IncompatibleError(
            f"model {contract.name}: {contract.action_space} has no output path in this version; it can be staged and shadowed"
        )
    return release


def runs_current(host: Host, release: Release) -> bool:
    """Whether this release is committed, verified and at the wheel."""
    slot = host.store.current_slot()
    if slot is None or host.store.current() != release.digest:
        return False
    sample = observe(host, slot)
    drives = sample.view is not None and sample.view.drives(slot, release.digest)
    return drives and slot_verified(host, release, sample.status)


def _warm_up(change: Change, request: SwitchRequest) -> None:
    """WAIT: robot, candidate, robot again. Raises FailedError; the old release was never touched."""
    host, settings = change.host, change.host.config.gate
    deadline = time.monotonic() + request.deadline_s
    try:
        with change.deployment.step("WAIT", gate=request.gate) as done:
            wait_for_robot(host, request.gate, deadline)
            change.start()
            result = change.pass_gate("shadow", Patience(settings.shadow_s, settings.ready_s + settings.shadow_s))
            done["gate"] = result.document()
            if not result.passed:
                raise GateFailed(result, Failure.of_gate(change.release.digest, "WAIT", result))
            wait_for_robot(host, request.gate, max(deadline, time.monotonic() + 1.0))
    except (HomeportError, OSError) as error:
        failure = _failure(change, "WAIT", error)
        change.abandon(failure, _is_to_blame(change, error))
        code = error.exit_code if isinstance(error, HomeportError) else 1
        raise FailedError(str(error), failed_result("switch", change, failure), code) from error


def _probation(change: Change, request: SwitchRequest) -> None:
    """PROBATION: the candidate drives. Raises GateFailed."""
    with change.deployment.step("PROBATION", seconds=request.probation_s) as done:
        patience = Patience(request.probation_s, request.probation_s + GRACE_S + 5.0, GRACE_S, strict=True)
        result = change.pass_gate("probation", patience)
        done["gate"] = result.document()
        if not result.passed:
            raise GateFailed(result, Failure.of_gate(change.release.digest, "PROBATION", result))


def _went_back(change: Change, error: HomeportError | OSError) -> FailedError:
    """A failure at or after SWITCH: the old slot is selected again, whatever the supervisor did meanwhile."""
    failure = _failure(change, change.deployment.stage, error)
    change.go_back(failure, _is_to_blame(change, error))
    refused = isinstance(error, RefusedError)
    return FailedError(failure.message, failed_result("switch", change, failure), 5 if refused else 1)


def _failure(change: Change, stage: str, error: HomeportError | OSError) -> Failure:
    if isinstance(error, GateFailed):
        return error.failure
    return Failure(change.release.digest, stage, "error", None, None, str(error))


def _is_to_blame(change: Change, error: HomeportError | OSError) -> bool:
    """A release is put in quarantine for what it did, not for a silent supervisor or a broken sensor."""
    return isinstance(error, GateFailed) and error.gate.verdict != "unreachable" and not change.baseline


def _asked(change: Change) -> Failure:
    return Failure(change.release.digest, "PROBATION", "request", None, None, "rolled back on request")
