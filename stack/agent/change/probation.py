"""The part of a probation that waits for its commit, watched by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.gate import GateResult
from model_registry.core.release import Release
from stack.agent.change.candidate import Candidate
from stack.agent.gate.judge import blames
from stack.agent.gate.watch import GRACE_S, POLL_S, Patience
from stack.agent.reports import Failure, Result

T = TypeVar("T")
log = logging.getLogger(__name__)


class OpenProbation:
    """A release that drove well on probation and waits for its commit; no commit before the deadline means rollback.

    Watched by a thread of its own until `commit`, `roll_back`, a failing gate or the deadline decides; only one of them
    does.
    """

    def __init__(self, candidate: Candidate, deadline_s: float) -> None:
        self.candidate = candidate
        self._deadline_s = deadline_s
        self._ends = time.monotonic() + deadline_s
        self._fence = candidate.host.work.claim.fence
        self._lock = threading.Lock()
        self._decided = threading.Event()

    @property
    def release(self) -> Release:
        return self.candidate.release

    def start(self) -> None:
        """From now on the robot's claim belongs to this probation."""
        self.candidate.host.work.on_probation(self)
        threading.Thread(target=self._watch, name="probation", daemon=True).start()

    def commit(self) -> Result:
        """Raises FailedError when the release was rolled back instead, RefusedError when that is decided already."""
        return self._decide("commit", self.candidate.commit)

    def roll_back(self) -> Result:
        """The hot way back, on request: the old slot is warm."""
        return self._decide("rollback", self.candidate.give_back)

    def _decide(self, verb: str, act: Callable[[], T]) -> T:
        with self._lock:
            if self._decided.is_set():
                raise RefusedError(f"{self.candidate.release.version}: its probation has ended; ask for the status")
            self._decided.set()
            self.candidate.verb = verb
            try:
                return act()
            finally:
                self.candidate.host.work.end_probation(self._fence)

    def _watch(self) -> None:
        try:
            self._look()
        except Exception as error:  # the root of this thread: nobody else takes back a release that nobody watches
            log.exception("the probation ends")
            text = f"internal error: {type(error).__name__}: {error}; read the agent's log"
            failure = Failure(self.candidate.release.digest, "PROBATION", text)
            with suppress(HomeportError, OSError):
                self._decide("switch", partial(self.candidate.go_back, failure))

    def _look(self) -> None:
        """Until it is decided, by whomever."""
        candidate = self.candidate
        gate = candidate.watch("probation", Patience(float("inf"), float("inf"), GRACE_S, strict=True))
        while not self._decided.wait(POLL_S):
            result = gate.feed(candidate.sample())
            if (failure := self._failure(result)) is not None:
                guilty = result is not None and blames(result)
                # Somebody else decided first, or the journal is still open: the keeper ends it.
                with suppress(HomeportError, OSError):
                    self._decide("switch", partial(candidate.go_back, failure, guilty))
                return

    def _failure(self, result: GateResult | None) -> Failure | None:
        candidate = self.candidate
        if result is not None and not result.passed:
            candidate.gates.append(result)
            return Failure.of_gate(candidate.release.digest, "PROBATION", result)
        if time.monotonic() < self._ends:
            return None
        text = f"no commit within {self._deadline_s:.0f} s"
        return Failure(candidate.release.digest, "PROBATION", text, "commit", self._deadline_s, self._deadline_s)
