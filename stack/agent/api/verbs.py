"""One request of agent.sock → one verb. Requests are checked here, whoever sent them."""

from __future__ import annotations

import time
from collections.abc import Callable

from model_registry.core.documents import Reader, fill
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.core.release import check_name
from stack.agent.api.status import status_document
from stack.agent.change.claim import claimed
from stack.agent.change.permission import come_to_rest
from stack.agent.change.rollback import call_off, check_target, pin, roll_back
from stack.agent.change.rotation import accept_trust
from stack.agent.change.staging import StageRequest, plan, stage
from stack.agent.change.switch import SwitchRequest, runs_current, switch
from stack.agent.disk.store import resolve
from stack.agent.host import Host, Progress
from stack.agent.reports import PERMISSIONS, FailedError, Result
from stack.agent.supervisor import OWNER
from stack.agent.upkeep.prune import prune

_OPERATOR = "homeport-agent hold"
_WARM_UP_S = 1800.0
_MOST_BY = 80
"""Characters of the name that a caller gives himself."""
Verb = Callable[[Host, Reader, str, Progress], Result]


def answer(host: Host, value: object, owner: str, progress: Progress) -> dict[str, object]:
    """The result document of one request. Raises HomeportError."""
    reader = Reader(value, "request")
    if (protocol := reader.integer("v")) != 1:
        raise UsageError(f"request.v: {protocol} is not spoken here, only 1; use the homeport-agent of this robot")
    verb = reader.text("verb", ("status", *VERBS))
    if verb == "status":
        reader.done()
        return status_document(host)
    if reader.has("by"):
        owner = f"{reader.text('by')[:_MOST_BY]} ({owner})"
    began = time.monotonic()
    try:
        result = VERBS[verb](host, reader, owner, progress)
    except FailedError as error:
        error.result.seconds = round(time.monotonic() - began, 3)
        raise
    except OSError as error:
        raise HomeportError(f"{verb}: {error}; look at the robot's disk") from error
    result.seconds = round(time.monotonic() - began, 3)
    return result.document()


def _stage(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    source = reader.text("source") if reader.has("source") else host.config.source
    repository = check_name(reader.text("repository"), "request.repository")
    request = fill(StageRequest, reader, source=source, repository=repository, followed=False)
    reader.done()
    if request.dry_run:
        return plan(host, request)
    with claimed(host, owner, "stage"):
        return stage(host, request, progress)


def _switch(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    request = SwitchRequest(
        reader.digest("release"),
        reader.text("commit", ("auto", "wait")),
        reader.number("deadline_s", 0.0, 86_400.0),
        reader.number("probation_s", 0.0, 86_400.0),
        reader.text("gate", PERMISSIONS),
        reader.boolean("now"),
    )
    reader.done()
    probation = host.work.probation
    if probation is not None and probation.release.digest == request.release:
        return Result("switch", False, request.release, probation.release.version, "PROBATION")
    # One deadline to wait for the robot, and one more of the probation that waits for its commit.
    lasts_s = 2 * request.deadline_s + request.probation_s + 2 * host.config.gate.ready_s + _WARM_UP_S
    with claimed(host, owner, "switch", lasts_s):
        return switch(host, request, progress)


def _commit(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    digest = reader.digest("release")
    reader.done()
    probation = host.work.probation
    if probation is not None and probation.release.digest == digest:
        return probation.commit()
    with claimed(host, owner, "commit"):
        if host.store.current() != digest:
            raise RefusedError(f"{digest}: not on probation here, so there is nothing to commit; ask for the status")
        release = host.store.load(digest)
        if not runs_current(host, release):
            raise RefusedError(f"{digest}: committed, and not what drives now; ask for the status")
        return Result("commit", False, digest, release.version, "COMMIT")


def _rollback(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    to = reader.text("to")
    kind = reader.text("gate", PERMISSIONS)
    now = reader.boolean("now")
    undo = reader.has("undo") and reader.boolean("undo")
    reader.done()
    target = None if to == "previous" else resolve(host.store, to)
    if target is not None and target != host.store.current():
        check_target(host, target)
    ended = call_off(host, progress)
    if ended is not None and target in (None, host.store.current()):
        return ended
    with claimed(host, owner, "rollback"):
        return roll_back(host, target or resolve(host.store, to), kind, now, progress, undo)


def _pin(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    digest = reader.digest("release") if reader.has("release") else host.store.current()
    reader.done()
    with claimed(host, owner, "pin"):
        return pin(host, digest)


def _prune(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    dry_run = reader.boolean("dry_run")
    reader.done()
    with claimed(host, owner, "prune"):
        return prune(host, dry_run)


def _trust(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    document = reader.text("document")
    reader.done()
    with claimed(host, owner, "trust"):
        return accept_trust(host, document.encode())


def _ask_supervisor(host: Host, reader: Reader, owner: str, progress: Progress) -> Result:
    """hold, drain, unhold, arm and reset: not a change of the release, so they are answered while one goes on."""
    verb = reader.text("verb")
    supervisor = host.supervisor
    changed = True
    reason = reader.text("reason") if verb in ("hold", "drain") else ""
    gone = {"gone": reader.boolean("gone")} if verb == "reset" and reader.has("gone") else {}
    reader.done()
    if verb == "hold":
        supervisor.hold(_OPERATOR, reason)
    elif verb == "drain":
        come_to_rest(supervisor, _OPERATOR, reason, host.stopping)
    elif verb == "unhold":
        changed = supervisor.unhold(_OPERATOR, OWNER)
    else:
        changed = verb == "reset" or not supervisor.view().armed
        supervisor.operate(verb, **gone)
    return Result(verb, changed)


VERBS: dict[str, Verb] = {
    "stage": _stage,
    "switch": _switch,
    "commit": _commit,
    "rollback": _rollback,
    "pin": _pin,
    "prune": _prune,
    "trust": _trust,
    **dict.fromkeys(("hold", "drain", "unhold", "arm", "reset"), _ask_supervisor),
}
