"""Bring another staged release to the wheel, or the old one back: the moves that switch and rollback share.

Up to `commit` nothing durable changes but the link of the free slot, so that any crash comes back on the old release.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.gate import GateResult
from model_registry.core.release import Release
from stack.agent.change.cutover import STOP_FIRST, cutover
from stack.agent.change.deployment import Deployment
from stack.agent.change.permission import Permission, come_to_rest
from stack.agent.change.recovery import LOG_LINES
from stack.agent.gate.baseline import Baseline, take
from stack.agent.gate.judge import expect
from stack.agent.gate.samples import SlotSample, observe, verified
from stack.agent.gate.watch import POLL_S, Patience, Watch
from stack.agent.host import Host, Progress
from stack.agent.reports import CalledOff, FailedError, Failure, GateFailed, Result
from stack.agent.runtime import PolicyEndedError
from stack.agent.supervisor import OWNER

RESTORE_S = 15.0
_MARGIN_S = 10.0
_BASELINE_S = 2.0
_VOUCH_S = 3.0


class Candidate:
    """A release in the free slot, beside what `current` names. `verb` is what asked for it."""

    def __init__(self, host: Host, release: Release, verb: str, progress: Progress, permission: str) -> None:
        """Raises RefusedError when this robot has no room for the change."""
        self.cutover = cutover(host, release, permission)
        self.host = host
        self.release = release
        self.verb = verb
        self.deployment = Deployment(host, release.digest, progress)
        self.slot = host.store.free_slot()
        self.old_slot, self.old = host.store.current_slot(), host.store.current()
        self.baseline = Baseline()
        self.gates: list[GateResult] = []
        self.switched_ns: int | None = None
        self.held = False
        self.undo = False
        """Whether `previous` becomes what it was before the release that drives now was committed."""
        self.renaming = False
        """Whether the commit has come to its durable part: a `current` that names the release may do so from before."""

    def result(self, stage: str, failure: Failure | None = None) -> Result:
        """Where this change has come to."""
        digest = self.release.digest
        version = self.release.version
        gates = tuple(self.gates)
        ended = failure is None
        return Result(self.verb, ended, digest, version, stage, gates=gates, failure=failure, cutover=self.cutover)

    def failed(self, failure: Failure, exit_code: int = 1) -> FailedError:
        return FailedError(failure.message, self.result("FAILED", failure), exit_code)

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, GateFailed):
            return error.failure
        metric = "process" if isinstance(error, PolicyEndedError) else "error"
        return Failure(self.release.digest, self.deployment.stage, str(error), metric)

    def sample(self) -> SlotSample:
        return observe(self.host, self.slot)

    def start(self) -> None:
        """Look at the robot as it is, then start the candidate.

        The old release drives on; when the candidate needs its memory, the robot stands instead.
        """
        seconds = 0.0 if self.verb == "rollback" else min(_BASELINE_S, self.host.config.gate.shadow_s)
        self.baseline = take(self.host, self.old_slot, seconds)
        if self.cutover == STOP_FIRST and self.old_slot is not None:
            self.come_to_rest("there is no room for two releases")
            self.host.runtime.stop(self.old_slot)
            self.deployment.say(f"The robot is held, and slot {self.old_slot} has ended to make room (stop-first).")
        self.host.runtime.stop(self.slot)
        self.host.store.link_slot(self.slot, self.release.digest)
        self.host.runtime.start(self.slot, self.release)
        self.deployment.say(f"{self.release.name} {self.release.version} warms up in slot {self.slot}.")

    def watch(self, gate: str, patience: Patience) -> Watch:
        """A gate on the candidate that begins now."""
        expected = expect(self.host, gate, self.slot, self.release, self.switched_ns)
        return Watch(expected, patience, self.baseline, self.sample())

    def pass_gate(self, gate: str, patience: Patience) -> GateResult:
        """Poll a gate on the candidate. Raises GateFailed, or CalledOff when a rollback was asked for."""
        result = self.watch(gate, patience).poll(self.sample, self.host.work.abort)
        if result is None:
            raise CalledOff("called off by a rollback; what ran before keeps running")
        self.gates.append(result)
        if not result.passed:
            raise GateFailed(self.release.digest, self.deployment.stage, result)
        return result

    def come_to_rest(self, reason: str) -> None:
        """Hold the robot at zero until `unhold`. Raises RefusedError when it does not stand."""
        self.held = True
        come_to_rest(self.host.supervisor, OWNER, reason, self.host.work.abort)

    def unhold(self) -> None:
        """End the hold of this change, if it has one."""
        if self.held:
            self.host.supervisor.unhold(OWNER)
            self.held = False

    def select(self, probation_s: float, permission: Permission) -> None:
        """Let the candidate drive, with the old slot as the way back where it is alive.

        Raises RefusedError when the permission has expired.
        """
        way_back = self.old_slot if self.old_slot and self.host.runtime.alive(self.old_slot) else None
        before = self.baseline.document()
        with self.deployment.step("SWITCH", slot=self.slot, fallback=way_back, baseline=before) as done:
            permission.check()
            self.switched_ns = self.host.supervisor.select(
                self.slot, self.release.digest, probation_s + _MARGIN_S, way_back
            )
            done["monotonic_ns"] = self.switched_ns

    def commit(self) -> Result:
        """COMMIT, or the way back when the supervisor does not play along. Raises FailedError."""
        try:
            self._commit()
        except (HomeportError, OSError) as error:
            if self.renaming and self.host.store.current_slot() == self.slot:
                raise
            failure = self.failure(error)
            self.go_back(failure)
            raise self.failed(failure) from error
        try:
            self.host.supervisor.unhold(OWNER)
            if self.old_slot is not None:
                self.host.runtime.stop(self.old_slot)
        except HomeportError as error:
            self.deployment.say(f"{error} (the commit stands)")
        return self.result("COMMIT")

    def _commit(self) -> None:
        """Make it what this robot runs, also after a power cut.

        Raises HomeportError before anything durable changed.
        """
        host = self.host
        before = self.host.store.previous()
        previous = self._previous()
        names = {"before": before and str(before), "previous": previous and str(previous)}
        self.deployment.begin("COMMIT", slot=self.slot, **names)
        host.supervisor.select(self.slot, self.release.digest, 0.0, None)
        if not host.supervisor.view().drives(self.slot, self.release.digest):
            raise HomeportError(f"slot {self.slot}: the supervisor went back just before the commit")
        self._vouch()
        self.renaming = True
        host.store.rename_current(self.slot)
        host.work.trouble = None  # it was about what drove before
        host.store.settle(self.release, previous)
        self.deployment.finish(slot=self.slot)

    def _previous(self) -> Digest | None:
        """What `previous` names after the commit.

        That is the release that was left, or with `undo` what `previous` was before that one came.
        """
        if self.undo and self.old is not None:
            return self._before(self.old)
        return self.old if self.old not in (None, self.release.digest) else self.host.store.previous()

    def _before(self, left: Digest) -> Digest | None:
        """What `previous` named before a release was committed.

        None where it named nothing, or what is not here any more.
        """
        store = self.host.store
        known = self.host.journal.commit_of(left)
        before = store.previous()
        if known is not None:
            text = known.detail.get("before")
            before = Digest.parse(text) if isinstance(text, str) else None
        return None if before == self.release.digest or store.find(before) is None else before

    def _vouch(self) -> None:
        """Only its own live process may say that a release runs; what was written or selected is no proof.

        Raises HomeportError.
        """
        deadline = time.monotonic() + _VOUCH_S
        while not verified(self.host, self.release.digest, self.sample()):
            if time.monotonic() >= deadline or self.host.stopping.wait(POLL_S):
                raise HomeportError(f"slot {self.slot}: its process does not say that it runs {self.release.digest}")

    def give_back(self) -> Result:
        """Back to the old release because somebody asked. Raises FailedError when it does not come back healthy."""
        if (restore := self.go_back(None)) is not None:
            raise self.failed(restore)
        old = self.host.store.find(self.old)
        version = None if old is None else old.version
        return Result(self.verb, True, self.old, version, "VERIFY_ROLLBACK", gates=tuple(self.gates))

    def go_back(self, failure: Failure | None, quarantine: bool = False) -> Failure | None:
        """Stop the candidate; after SWITCH the old slot drives again first.

        Returns why that did not work, if it did not.
        """
        log = self.host.runtime.log_tail(self.slot, LOG_LINES)
        untouched = self.deployment.stage == "WAIT" and (self.cutover != STOP_FIRST or not self.held)
        restore = None if untouched else self._restore(failure, quarantine)
        self.host.runtime.stop(self.slot)
        if restore is None:
            with suppress(HomeportError):  # without a supervisor there is no hold either
                self.unhold()
        if quarantine and failure is not None:
            try:
                self.host.store.quarantine(failure)
            except OSError as error:
                self.deployment.say(f"The quarantine cannot be written ({error}); the way back goes on.")
        self.deployment.fail(failure, restore, log)
        return restore

    def _restore(self, failure: Failure | None, quarantine: bool) -> Failure | None:
        """Let the old slot drive, whatever the supervisor did meanwhile.

        Where that fails, command zero until a person acts or the next commit.
        """
        self.deployment.begin("ROLLBACK", failure=failure and failure.document(), quarantine=quarantine)
        try:
            if self.cutover == STOP_FIRST:
                self.held = True
                self.host.supervisor.hold(OWNER, "the old release needs the room of the new one")
                self.host.runtime.stop(self.slot)
            self._select_old()
            self.deployment.finish(slot=self.old_slot)
            restore = self._verify_old()
        except GateFailed as error:
            restore = error.failure
        except HomeportError as error:
            restore = Failure(self.old or self.release.digest, "VERIFY_ROLLBACK", str(error))
        if restore is None:
            return None
        if self.baseline.healthy is False:
            restore = replace(restore, message=f"{restore.message}; it was not healthy before the switch either")
        try:
            self.host.supervisor.hold(OWNER, f"rollback failed: {restore.message}")
        except HomeportError as error:  # without a supervisor there is no motion to stop
            self.deployment.say(str(error))
        return restore

    def _select_old(self) -> None:
        if self.old_slot is None or self.old is None:
            return
        if self.host.runtime.alive(self.old_slot) is None:
            self.host.runtime.start(self.old_slot, self.host.store.load(self.old))
            self._old_gate(self.host.config.gate.ready_s)
        view = self.host.supervisor.try_view()
        if view is None or not view.drives(self.old_slot, self.old):
            self.host.supervisor.select(self.old_slot, self.old, 0.0, None)

    def _verify_old(self) -> Failure | None:
        """The minimal gate on what was restored."""
        self.deployment.begin("VERIFY_ROLLBACK")
        if self.old_slot is None or self.old is None:
            self.deployment.finish()
            return None
        result = self._old_gate(RESTORE_S)
        if not self.host.supervisor.view().drives(self.old_slot, self.old):
            text = f"slot {self.old_slot} does not drive after the rollback"
            return Failure(self.old, "VERIFY_ROLLBACK", text, "selected")
        self.deployment.finish(gate=result.document())
        return None

    def _old_gate(self, deadline_s: float) -> GateResult:
        host = self.host
        slot = self.old_slot
        old = self.old
        assert slot is not None and old is not None
        expected = expect(host, "restore", slot, host.store.load(old))
        watch = Watch(expected, Patience(host.config.gate.restore_s, deadline_s), Baseline(), observe(host, slot))
        result = watch.poll(lambda: observe(host, slot), host.stopping)
        if result is None:
            raise HomeportError("the agent stops")
        self.gates.append(result)
        if not result.passed:
            raise GateFailed(old, self.deployment.stage, result)
        return result
