"""From READY to COMMIT.

The candidate warms beside what drives, is compared with it, drives on probation, and is committed or taken back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.gate import GateResult
from model_registry.core.release import Release
from stack.agent.change.candidate import Change
from stack.agent.change.fit import switchable
from stack.agent.change.permission import Permission
from stack.agent.gate.judge import blames
from stack.agent.gate.samples import observe, verified
from stack.agent.gate.watch import GRACE_S, POLL_S, Patience
from stack.agent.host import Host, Progress
from stack.agent.machine.os_slots import check_settled
from stack.agent.reports import CalledOff, Failure, GateFailed, Result

T = TypeVar("T")
log = logging.getLogger(__name__)


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
    gate: str
    now: bool


def switch(host: Host, request: SwitchRequest, progress: Progress) -> Result:
    """Raises RefusedError when nothing was tried, FailedError when the candidate was and the old release is back."""
    release = switchable(host, request.release)
    if runs_current(host, release):
        progress("COMMIT", f"{release.name} {release.version} already drives.")
        return Result("switch", False, release.digest, release.version, "COMMIT")
    check_settled(host.layout)
    permission = Permission(host, "switch", request.gate, request.now)
    change = Change(host, release, "switch", progress, request.gate)
    wait = request.commit == "wait"
    try:
        _warm_up(change, request, permission)
        patience = Patience.probation(request.probation_s, release)
        change.select(patience.deadline_s + (request.deadline_s if wait else 0.0), permission)
        change.let_go()
        with change.deployment.step("PROBATION", seconds=request.probation_s) as done:
            done["gate"] = change.pass_gate("probation", patience).document()
    except (HomeportError, OSError) as error:
        code = error.exit_code if isinstance(error, HomeportError) else 1
        if isinstance(error, CalledOff) and change.switched_ns is not None:
            change.give_back()
            failure = Failure(release.digest, "PROBATION", "rolled back on request", "request")
        else:
            failure = change.failure(error)
            # A release is put in quarantine for what it did, not for a silent supervisor or a broken sensor.
            change.go_back(failure, isinstance(error, GateFailed) and blames(error.gate))
        raise change.failed(failure, code) from error
    if wait:
        Trial(change, request.deadline_s).start()
        return change.result("PROBATION")
    return change.commit()


def runs_current(host: Host, release: Release) -> bool:
    """Whether this release is committed, verified and at the wheel."""
    slot = host.store.current_slot()
    if slot is None or host.store.current() != release.digest:
        return False
    sample = observe(host, slot)
    drives = sample.view is not None and sample.view.drives(slot, release.digest)
    return drives and verified(host, release.digest, sample)


def _warm_up(change: Change, request: SwitchRequest, permission: Permission) -> None:
    """WAIT: for robot and window, for the candidate, and for robot and window again.

    The old release is not touched where there is room for both.
    """
    settings = change.host.config.gate
    deadline = time.monotonic() + request.deadline_s
    with change.deployment.step("WAIT", gate=request.gate, now=request.now, cutover=change.cutover) as done:
        permission.wait(deadline)
        change.start()
        result = change.pass_gate("shadow", Patience(settings.shadow_s, settings.ready_s + settings.shadow_s))
        done["gate"] = result.document()
        if request.now:
            change.come_to_rest("an operator wants the switch now")
        permission.wait(max(deadline, time.monotonic() + 1.0))


class Trial:
    """A release that drove well on probation and waits for its commit; no commit before the deadline means rollback.

    Watched by a thread of its own until `commit`, `roll_back`, a failing gate or the deadline decides; only one of them
    does.
    """

    def __init__(self, change: Change, deadline_s: float) -> None:
        self.change, self._deadline_s = change, deadline_s
        self._ends = time.monotonic() + deadline_s
        self._fence = change.host.claim.fence
        self._lock = threading.Lock()
        self._decided = threading.Event()

    def start(self) -> None:
        """From now on the host's claim belongs to this trial."""
        self.change.host.trial = self
        threading.Thread(target=self._watch, name="trial", daemon=True).start()

    def commit(self) -> Result:
        """Raises FailedError when the release was rolled back instead, RefusedError when that is decided already."""
        return self._decide("commit", self.change.commit)

    def roll_back(self) -> Result:
        """The hot way back, on request: the old slot is warm."""
        return self._decide("rollback", self.change.give_back)

    def _decide(self, verb: str, act: Callable[[], T]) -> T:
        with self._lock:
            if self._decided.is_set():
                raise RefusedError(f"{self.change.release.version}: its trial has ended; ask for the status")
            self._decided.set()
            self.change.verb = verb
            try:
                return act()
            finally:
                host = self.change.host
                host.trial = None
                if host.claim.fence == self._fence:  # else it ran out, and somebody else has taken it
                    host.active = None
                    host.claim.drop()

    def _watch(self) -> None:
        try:
            self._look()
        except Exception as error:  # the root of this thread: nobody else takes back a trial that nobody watches
            log.exception("the trial ends")
            text = f"internal error: {type(error).__name__}: {error}; read the agent's log"
            failure = Failure(self.change.release.digest, "PROBATION", text)
            with suppress(HomeportError, OSError):
                self._decide("switch", partial(self.change.go_back, failure))

    def _look(self) -> None:
        """Until it is decided, by whomever."""
        change = self.change
        gate = change.watch("probation", Patience(float("inf"), float("inf"), GRACE_S, strict=True))
        while not self._decided.wait(POLL_S):
            result = gate.feed(change.sample())
            if (failure := self._failure(result)) is not None:
                guilty = result is not None and blames(result)
                # Somebody else decided first, or the journal is still open: the keeper ends it.
                with suppress(HomeportError, OSError):
                    self._decide("switch", partial(change.go_back, failure, guilty))
                return

    def _failure(self, result: GateResult | None) -> Failure | None:
        change = self.change
        if result is not None and not result.passed:
            change.gates.append(result)
            return Failure.of_gate(change.release.digest, "PROBATION", result)
        if time.monotonic() < self._ends:
            return None
        text = f"no commit within {self._deadline_s:.0f} s"
        return Failure(change.release.digest, "PROBATION", text, "commit", self._deadline_s, self._deadline_s)
