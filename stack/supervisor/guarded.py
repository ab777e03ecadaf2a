"""One tick, from what has arrived to what is said, whatever fails in between.

Any exception commands zero at that tick and latches at the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from stack.supervisor.state import Reason
from stack.supervisor.supervisor import Output, Supervisor

log = logging.getLogger(__name__)

Decided = tuple[Output, float] | None
"""What a tick will say, and when that was decided (monotonic s); None when deciding failed."""


class Outside(Protocol):
    """The topics. Each method may raise."""

    def take(self, now_s: float, ros_s: float) -> None: ...

    def publish(self, output: Output, now_s: float, deadline_s: float) -> None: ...

    def publish_command(self, output: Output, deadline_s: float) -> None: ...


class Guarded:
    """The two halves of a tick. Called by the tick thread; only a zero that cannot be published ends it."""

    def __init__(
        self, supervisor: Supervisor, outside: Outside, note_latched: Callable[[Reason], None] = lambda _: None
    ) -> None:
        """`note_latched` is told at every tick what is latched."""
        self._supervisor = supervisor
        self._outside = outside
        self._note_latched = note_latched
        self._failing = False

    def decide(self) -> Decided:
        now_s = time.monotonic()
        ros_s = time.time()
        try:
            self._outside.take(now_s, ros_s)
            output = self._supervisor.tick(now_s, ros_s)
        except Exception:
            self._fail("Deciding")
            return None
        self._note_latched(self._supervisor.machine.latched)
        return output, now_s

    def act(self, decided: Decided, deadline_s: float) -> None:
        """Say what was decided."""
        try:
            if decided is None:
                self._outside.publish_command(self._supervisor.stop(), deadline_s)
            else:
                self._outside.publish(*decided, deadline_s)
                self._failing = False
        except Exception:
            self._fail("Publishing")
            self._outside.publish_command(self._supervisor.stop(), deadline_s)

    def _fail(self, what: str) -> None:
        self._supervisor.stops.trip(Reason.EXCEPTION)
        if not self._failing:
            log.exception("%s failed; the robot stops", what)
        self._failing = True
