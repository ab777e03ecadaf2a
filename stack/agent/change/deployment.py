"""One change of the robot, written down as it goes.

Every step is noted before and after, until the change ended well or was closed as FAILED.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.transfer import Transfer
from stack.agent.disk.journal import STAGES, STAGING
from stack.agent.host import Host, Progress
from stack.agent.reports import CalledOff, Failure

BEGIN = "begin"
NEXT: dict[str, tuple[str, ...]] = {
    BEGIN: ("CLAIM", "WAIT"),
    "CLAIM": ("PREFLIGHT", "FAILED"),
    "PREFLIGHT": ("FETCH", "FAILED"),
    "FETCH": ("VERIFY", "FAILED"),
    "VERIFY": ("STAGE", "FAILED"),
    "STAGE": ("BUILD", "FAILED"),
    "BUILD": ("PROVE", "FAILED"),
    "PROVE": ("READY", "FAILED"),
    "READY": ("FAILED",),
    "WAIT": ("SWITCH", "ROLLBACK", "FAILED"),
    "SWITCH": ("PROBATION", "VERIFY_ROLLBACK", "ROLLBACK"),
    "PROBATION": ("COMMIT", "ROLLBACK"),
    "COMMIT": ("ROLLBACK",),
    "ROLLBACK": ("VERIFY_ROLLBACK", "FAILED"),
    "VERIFY_ROLLBACK": ("COMMIT", "ROLLBACK", "FAILED"),
    "FAILED": (),
}
"""Stage → the stages that may follow it in one deployment; docs/rollback.md shows it as it is here.

`stage` goes from CLAIM to READY, `switch` from WAIT to COMMIT by PROBATION, `rollback` from WAIT to COMMIT by
VERIFY_ROLLBACK. READY and COMMIT end a deployment that went well, FAILED one that did not.
"""
_WAY_BACK = ("ROLLBACK", "VERIFY_ROLLBACK", "FAILED")


class Deployment:
    """One change of this robot from CLAIM to its end.

    A step is announced here before it is taken; `progress` hears a sentence about it.
    """

    def __init__(self, host: Host, release: Digest, progress: Progress) -> None:
        self.host = host
        self.release = release
        self.progress = progress
        self.identity = f"{release.short}-{host.journal.next_seq}"
        self._last = BEGIN
        self._fence = host.work.claim.fence
        self.transfer: Transfer | None = None
        """How far a fetch is that goes on now."""
        self.restore: Failure | None = None
        """Why the way back did not work, once it did not."""
        host.work.begin(self)

    @property
    def stage(self) -> str:
        """What goes on now, one of STAGES."""
        return "CLAIM" if self._last == BEGIN else self._last

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
        """Announce a stage, with what is intended.

        Raises CalledOff instead of the next step of staging when a rollback came, HomeportError for a stage that may
        not follow; the way back is never refused.
        """
        if stage in STAGING and self.host.work.abort.is_set():
            raise CalledOff("called off by a rollback; what was fetched and built stays for the next time")
        if stage not in _WAY_BACK and stage not in NEXT[self._last]:
            raise HomeportError(f"{self.identity}: {stage} may not follow {self._last}; report this, with the journal")
        self._last = stage
        self.transfer = None
        self._write("intent", intent)
        self.say(f"{STAGES[stage]}.")

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
        self._last = "FAILED"
        self.restore = restore
        restored = restore and restore.document()
        self.finish(failure=failure and failure.document(), restore_failure=restored, log=list(log))
        self.say(failure.message if failure else "Rolled back on request.")
