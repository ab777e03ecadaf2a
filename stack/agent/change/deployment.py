"""One change of the robot, written down as it goes.

Every step is noted before and after, until the change ended well or was closed as FAILED.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from stack.agent.disk.journal import STAGES, STAGING
from stack.agent.reports import CalledOff, Failure

if TYPE_CHECKING:
    from stack.agent.host import Host, Progress

_WAY_BACK = ("ROLLBACK", "VERIFY_ROLLBACK", "FAILED")
_MOST_RECORDS = 40
"""Of one deployment: more means that it goes round in circles."""


class Deployment:
    """One change of this robot from CLAIM to its end.

    A step is announced here before it is taken; `progress` hears a sentence about it.
    """

    def __init__(self, host: Host, release: Digest, progress: Progress) -> None:
        self.host, self.release, self.progress = host, release, progress
        self.identity = f"{release.short}-{host.journal.next_seq}"
        self.stage, self._fence = "CLAIM", host.claim.fence
        self.restore: Failure | None = None
        """Why the way back did not work, once it did not."""
        host.abort.clear()
        host.active = self

    def say(self, text: str) -> None:
        self.progress(self.stage, text)

    @contextmanager
    def step(self, stage: str, **intent: object) -> Iterator[dict[str, object]]:
        """Write the intent, do the work, write what was done; the body fills the yielded detail."""
        self.begin(stage, **intent)
        done: dict[str, object] = {}
        yield done
        self.finish(**done)

    def begin(self, stage: str, **intent: object) -> None:
        """Raises CalledOff instead of the next step of staging when a rollback came."""
        if stage in STAGING and self.host.abort.is_set():
            raise CalledOff("called off by a rollback; what was fetched and built stays for the next time")
        if stage not in _WAY_BACK and self._records() >= _MOST_RECORDS:
            raise HomeportError(f"{self.identity}: goes round in circles; ended after {_MOST_RECORDS} records")
        self.stage = stage
        self._write("intent", intent)
        self.say(f"{STAGES[stage]}.")

    def _records(self) -> int:
        return sum(record.deployment == self.identity for record in self.host.journal.records)

    def finish(self, **done: object) -> None:
        self._write("done", done)

    def _write(self, phase: str, detail: dict[str, object]) -> None:
        """A disk that cannot be written ends every step but those of the way back."""
        try:
            self.host.journal.append(self.identity, self.stage, phase, self.release, detail, self._fence)
        except OSError as error:
            if self.stage not in _WAY_BACK:
                raise
            self.say(f"The journal cannot be written ({error}); the way back goes on.")

    def fail(self, failure: Failure | None, restore: Failure | None = None, log: Iterable[str] = ()) -> None:
        """Close the deployment as FAILED; both failures are kept apart."""
        self.stage, self.restore = "FAILED", restore
        restored = restore and restore.document()
        self.finish(failure=failure and failure.document(), restore_failure=restored, log=list(log))
        self.say(failure.message if failure else "Rolled back on request.")
