"""A release that drove well on probation and waits for its commit: no commit before the deadline means rollback."""

from __future__ import annotations

import threading
import time

from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.change import GRACE_S, Change
from stack.agent.reports import FailedError, Failure, Result
from stack.agent.watch import POLL_S, Patience, Watch


class Trial:
    """Watched by a thread of its own until `commit`, `roll_back`, a failing gate or the deadline decides; only one of them does."""

    def __init__(self, change: Change, deadline_s: float) -> None:
        self.change, self._deadline_s = change, deadline_s
        self._ends = time.monotonic() + deadline_s
        self._lock = threading.Lock()
        self._decided = threading.Event()

    def start(self) -> None:
        """From now on the host's claim belongs to this trial."""
        self.change.host.trial = self
        threading.Thread(target=self._watch, name="trial", daemon=True).start()

    def commit(self, verb: str) -> Result:
        """Raises FailedError when the release could not be committed and was rolled back, RefusedError when that is decided already."""
        change = self.change
        with self._lock:
            self._take()
            try:
                commit_or_go_back(verb, change)
            finally:
                self._end()
        return Result(verb, True, change.release.digest, change.release.version, "COMMIT", gates=tuple(change.gates))

    def roll_back(self, verb: str) -> Result:
        """The hot way back, on request: the old slot is warm."""
        with self._lock:
            self._take()
            try:
                return go_back_on_request(verb, self.change)
            finally:
                self._end()

    def _take(self) -> None:
        if self._decided.is_set():
            raise RefusedError(f"{self.change.release.version}: its trial has ended; ask for the status")
        self._decided.set()

    def _end(self) -> None:
        host = self.change.host
        host.active, host.trial = None, None
        host.claim.drop()

    def _watch(self) -> None:
        forever = Patience(float("inf"), float("inf"), GRACE_S, strict=True)
        change = self.change
        gate = Watch(change.expected("probation"), forever, change.baseline, change.sample())
        while not self._decided.wait(POLL_S):
            failure = self._failure(gate)
            if failure is None:
                continue
            with self._lock:
                if self._decided.is_set():
                    return
                self._decided.set()
                try:
                    change.go_back(failure, quarantine=failure.metric != "commit")
                finally:
                    self._end()

    def _failure(self, gate: Watch) -> Failure | None:
        change = self.change
        result = gate.feed(change.sample())
        if result is not None and not result.passed:
            change.gates.append(result)
            return Failure.of_gate(change.release.digest, "PROBATION", result)
        if time.monotonic() < self._ends:
            return None
        text = f"no commit within {self._deadline_s:.0f} s"
        return Failure(change.release.digest, "PROBATION", "commit", self._deadline_s, self._deadline_s, text)


def commit_or_go_back(verb: str, change: Change) -> None:
    """COMMIT, or the way back when the supervisor does not play along. Raises FailedError."""
    try:
        change.commit()
    except (HomeportError, OSError) as error:
        if change.host.store.current() == change.release.digest:
            raise
        failure = Failure(change.release.digest, "COMMIT", "error", None, None, str(error))
        change.go_back(failure, quarantine=False)
        raise FailedError(str(error), failed_result(verb, change, failure)) from error
    change.retire()


def go_back_on_request(verb: str, change: Change) -> Result:
    """Back to the old release because somebody asked. Raises FailedError when it does not come back healthy."""
    host = change.host
    restore = change.go_back(None, quarantine=False)
    if restore is not None:
        raise FailedError(restore.message, failed_result(verb, change, restore))
    version = None if change.old is None else host.store.load(change.old).version
    return Result(verb, True, change.old, version, "VERIFY_ROLLBACK", gates=tuple(change.gates))


def failed_result(verb: str, change: Change, failure: Failure) -> Result:
    release = change.release
    return Result(verb, False, release.digest, release.version, "FAILED", gates=tuple(change.gates), failure=failure)
