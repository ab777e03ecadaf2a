"""One change of this robot from CLAIM to its end: every step is announced in the journal before it is taken, and closed after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from model_registry.core.digest import Digest
from stack.agent.host import Host, Progress
from stack.agent.reports import Failure

STAGE_WORDS = {
    "CLAIM": "Taking the robot's lock",
    "PREFLIGHT": "Looking whether the robot is ready",
    "FETCH": "Fetching the release",
    "VERIFY": "Checking signature and fit",
    "STAGE": "Laying out code and model",
    "BUILD": "Building the engine",
    "PROVE": "Proving the engine on this device",
    "READY": "Ready to switch",
    "WAIT": "Waiting for the robot and the warm candidate",
    "SWITCH": "Switching",
    "PROBATION": "Driving on probation",
    "COMMIT": "Committing",
    "ROLLBACK": "Rolling back",
    "VERIFY_ROLLBACK": "Checking what was restored",
}


class Deployment:
    """Steps of one release on one host; `progress` hears a sentence about each."""

    def __init__(self, host: Host, release: Digest, progress: Progress) -> None:
        self.host, self.release, self.progress = host, release, progress
        self.identity = f"{release.short}-{host.journal.next_seq}"
        self.stage = "CLAIM"
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
        self.stage = stage
        self.host.journal.append(self.identity, stage, "intent", self.release, intent)
        self.say(f"{STAGE_WORDS[stage]}.")

    def finish(self, **done: object) -> None:
        self.host.journal.append(self.identity, self.stage, "done", self.release, done)

    def fail(self, failure: Failure | None, restore: Failure | None = None, log: Iterable[str] = ()) -> None:
        """Close the deployment as FAILED; both failures are kept apart."""
        self.stage = "FAILED"
        self.finish(
            failure=None if failure is None else failure.document(),
            restore_failure=None if restore is None else restore.document(),
            log=list(log),
        )
        self.say(failure.message if failure else "Rolled back on request.")
