"""Bring another staged release to the wheel, or the old one back: the moves that switch and rollback share.

Up to `commit` nothing durable changes but the link of the free slot, so that any crash comes back on the old release.
"""

from __future__ import annotations

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.release import Release
from stack.agent.deployment import Deployment
from stack.agent.gates import Expected, Sample, faulty_sources, observe
from stack.agent.host import Host
from stack.agent.reports import Failure, GateResult
from stack.agent.supervisor import OWNER
from stack.agent.watch import Patience, Watch, watch

GRACE_S = 2.0
RESTORE_S = 15.0
_LOG_LINES = 40
_MARGIN_S = 10.0


class CalledOff(HomeportError):
    """A rollback came while the gate was open."""


class Change:
    """One candidate in the free slot, beside what `current` names."""

    def __init__(self, host: Host, deployment: Deployment, release: Release) -> None:
        self.host, self.deployment, self.release = host, deployment, release
        self.slot = host.store.free_slot()
        self.old_slot = host.store.current_slot()
        self.old: Digest | None = host.store.current()
        self.baseline: frozenset[str] = frozenset()
        self.gates: list[GateResult] = []
        self.switched_ns: int | None = None

    def sample(self) -> Sample:
        return observe(self.host, self.slot)

    def start(self) -> None:
        """Start the candidate; the old release drives on."""
        if self.old_slot is not None:
            self.baseline = faulty_sources(observe(self.host, self.old_slot))
        self.host.runtime.stop(self.slot)
        self.host.store.link_slot(self.slot, self.release.digest)
        self.host.runtime.start(self.slot, self.release)
        self.deployment.say(f"{self.release.name} {self.release.version} warms up in slot {self.slot}.")

    def expected(self, gate: str) -> Expected:
        engine = self.host.store.engine_key(self.release.digest)
        return Expected.of(gate, self.slot, self.release, engine, self.switched_ns)

    def pass_gate(self, gate: str, patience: Patience) -> GateResult:
        """Poll a gate on the candidate. Raises CalledOff when a rollback was asked for."""
        polled = Watch(self.expected(gate), patience, self.baseline, self.sample())
        result = watch(polled, self.sample, self.host.abort)
        if result is None:
            raise CalledOff("called off by a rollback; what ran before keeps running")
        self.gates.append(result)
        return result

    def select(self, probation_s: float) -> None:
        """Let the candidate drive, with the old slot as the way back where it is alive."""
        way_back = self.old_slot if self.old_slot and self.host.runtime.alive(self.old_slot) else None
        with self.deployment.step("SWITCH", slot=self.slot, fallback=way_back) as done:
            self.switched_ns = self.host.supervisor.select(
                self.slot, self.release.digest, probation_s + _MARGIN_S, way_back
            )
            done["monotonic_ns"] = self.switched_ns

    def commit(self) -> None:
        """Make it what this robot runs, also after a power cut. Raises HomeportError before anything durable changed."""
        host, left = self.host, self.old
        self.deployment.begin("COMMIT", slot=self.slot, left=None if left is None else str(left))
        host.supervisor.select(self.slot, self.release.digest, 0.0, None)
        if not host.supervisor.view().drives(self.slot, self.release.digest):
            raise HomeportError(f"slot {self.slot}: the supervisor went back just before the commit")
        host.store.rename_current(self.slot)
        host.store.settle(self.release, left)
        self.deployment.finish(slot=self.slot)

    def retire(self) -> None:
        """After COMMIT: end the old slot and give back any hold of ours."""
        try:
            self.host.supervisor.drop_hold()
            if self.old_slot is not None:
                self.host.runtime.stop(self.old_slot)
        except HomeportError as error:
            self.deployment.say(f"{error} (the commit stands)")

    def abandon(self, failure: Failure, quarantine: bool) -> None:
        """Before SWITCH: stop the candidate; nothing else was touched."""
        log = self.host.runtime.log_tail(self.slot, _LOG_LINES)
        self.host.runtime.stop(self.slot)
        if quarantine:
            self.host.store.quarantine(failure)
        self.deployment.fail(failure, log=log)

    def go_back(self, failure: Failure | None, quarantine: bool) -> Failure | None:
        """After SWITCH: the old slot drives again; returns why that did not work, if it did not."""
        log = self.host.runtime.log_tail(self.slot, _LOG_LINES)
        document = None if failure is None else failure.document()
        self.deployment.begin("ROLLBACK", failure=document, quarantine=quarantine)
        restore = None
        try:
            self._select_old()
            self.deployment.finish(slot=self.old_slot)
            restore = self._verify_old()
        except HomeportError as error:
            restore = self._restore_failure("error", str(error))
        if restore is not None:
            self._hold(restore.message)
        self.host.runtime.stop(self.slot)
        if quarantine and failure is not None:
            self.host.store.quarantine(failure)
        self.deployment.fail(failure, restore, log)
        return restore

    def _restore_failure(self, metric: str, message: str) -> Failure:
        return Failure(self.old or self.release.digest, "VERIFY_ROLLBACK", metric, None, None, message)

    def _select_old(self) -> None:
        if self.old_slot is None or self.old is None:
            return
        view = self.host.supervisor.try_view()
        if view is not None and view.drives(self.old_slot, self.old):
            return
        if self.host.runtime.alive(self.old_slot) is None:
            self.host.runtime.start(self.old_slot, self.host.store.load(self.old))
            result = self._old_gate(self.host.config.gate.ready_s)
            if not result.passed:
                raise HomeportError(Failure.of_gate(self.old, "ROLLBACK", result).message)
        self.host.supervisor.select(self.old_slot, self.old, 0.0, None)

    def _old_gate(self, deadline_s: float) -> GateResult:
        assert self.old_slot is not None and self.old is not None
        slot = self.old_slot
        release = self.host.store.load(self.old)
        expected = Expected.of("restore", slot, release, self.host.store.engine_key(self.old))
        polled = Watch(expected, Patience(0.3, deadline_s), frozenset(), observe(self.host, slot))
        result = watch(polled, lambda: observe(self.host, slot), self.host.stopping)
        if result is None:
            raise HomeportError("the agent stops")
        self.gates.append(result)
        return result

    def _verify_old(self) -> Failure | None:
        """The minimal gate on what was restored."""
        self.deployment.begin("VERIFY_ROLLBACK")
        if self.old_slot is None or self.old is None:
            self.deployment.finish()
            return None
        result = self._old_gate(RESTORE_S)
        view = self.host.supervisor.view()
        if not result.passed:
            return Failure.of_gate(self.old, "VERIFY_ROLLBACK", result)
        if not view.drives(self.old_slot, self.old):
            return self._restore_failure("selected", f"slot {self.old_slot} does not drive after the rollback")
        self.deployment.finish(gate=result.document())
        return None

    def _hold(self, reason: str) -> None:
        """Zero speed until a person or the next commit; without a supervisor there is no motion to stop."""
        try:
            self.host.supervisor.hold(OWNER, f"rollback failed: {reason}"[:200])
        except HomeportError as error:
            self.deployment.say(str(error))
