"""One request of agent.sock → one verb. Requests are checked here, whoever sent them."""

from __future__ import annotations

import time
from collections.abc import Callable

from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.core.release import check_name
from stack.agent.host import Host, Progress
from stack.agent.reports import FailedError, Result
from stack.agent.robot_gate import GATES
from stack.agent.rollback import call_off, roll_back
from stack.agent.stages import StageRequest, plan, stage
from stack.agent.status import status_document
from stack.agent.store import resolve
from stack.agent.supervisor import OWNER
from stack.agent.switch import SwitchRequest, runs_current, switch

_OPERATOR = "homeport-agent hold"
Verb = Callable[[Host, Reader, str, Progress], Result]


class VerbError(HomeportError):
    """An error with the result document that goes with it."""

    def __init__(self, message: str, exit_code: int, result: dict[str, object]) -> None:
        super().__init__(message)
        self.exit_code, self.result = exit_code, result


def answer(host: Host, value: object, owner: str, progress: Progress) -> dict[str, object]:
    """The result document of one request. Raises HomeportError."""
    reader = Reader(value, "request")
    if (protocol := reader.integer("v")) != 1:
        raise UsageError(f"request.v: {protocol} is not spoken here, only 1; use the homeport-agent of this robot")
    verb = reader.text("verb", ("status", *VERBS))
    if verb == "status":
        reader.done()
        return status_document(host)
    began = time.monotonic()
    try:
        result = VERBS[verb](host, reader, owner, progress)
    except FailedError as error:
        raise VerbError(str(error), error.exit_code, error.result.document(time.monotonic() - began)) from error
    except OSError as error:
        raise HomeportError(f"{verb}: {error}; look at the robot's disk") from error
    return result.document(time.monotonic() - began)


def _stage(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    request = StageRequest(
        reader.digest("release"),
        reader.text("source") if reader.has("source") else host.config.source,
        check_name(reader.text("repository"), "request.repository"),
        reader.boolean("retry"),
    )
    dry_run = reader.boolean("dry_run")
    reader.done()
    if dry_run:
        return plan(host, request)
    with host.claimed(owner, "stage"):
        return stage(host, request, progress)


def _switch(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    request = SwitchRequest(
        reader.digest("release"),
        reader.text("commit", ("auto", "wait")),
        reader.number("deadline_s", 0.0, 86_400.0),
        reader.number("probation_s", 0.0, 86_400.0),
        reader.text("gate", GATES),
    )
    reader.done()
    trial = host.trial
    if trial is not None and trial.change.release.digest == request.release:
        return Result("switch", False, request.release, trial.change.release.version, "PROBATION")
    with host.claimed(owner, "switch"):
        return switch(host, request, progress)


def _commit(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    digest = reader.digest("release")
    reader.done()
    trial = host.trial
    if trial is not None and trial.change.release.digest == digest:
        return trial.commit("commit")
    with host.claimed(owner, "commit"):
        if host.store.current() != digest:
            raise RefusedError(f"{digest}: not on probation here, so there is nothing to commit; ask for the status")
        release = host.store.load(digest)
        if not runs_current(host, release):
            raise RefusedError(f"{digest}: committed, and not what drives now; ask for the status")
        return Result("commit", False, digest, release.version, "COMMIT")


def _rollback(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    to, gate = reader.text("to"), reader.text("gate", GATES)
    reader.done()
    if to not in ("previous", "fallback"):
        resolve(host.store, to)
    trial = host.trial
    if trial is not None:
        progress("ROLLBACK", "The release on probation gives the wheel back.")
        return trial.roll_back("rollback")
    if (called_off := call_off(host)) is not None:
        return called_off
    with host.claimed(owner, "rollback"):
        return roll_back(host, resolve(host.store, to), gate, progress)


def _hold(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    reason = reader.text("reason")
    reader.done()
    host.supervisor.hold(_OPERATOR, reason[:200])
    return Result("hold", True)


def _unhold(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    reader.done()
    ours = [holder for holder in host.supervisor.view().holders if holder in (_OPERATOR, OWNER)]
    for holder in ours:
        host.supervisor.unhold(holder)
    return Result("unhold", bool(ours))


def _arm(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    reader.done()
    armed = host.supervisor.view().armed
    host.supervisor.operate("arm")
    return Result("arm", not armed)


def _reset(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    reader.done()
    host.supervisor.operate("reset")
    return Result("reset", True)


VERBS: dict[str, Verb] = {
    "stage": _stage,
    "switch": _switch,
    "commit": _commit,
    "rollback": _rollback,
    "hold": _hold,
    "unhold": _unhold,
    "arm": _arm,
    "reset": _reset,
}
