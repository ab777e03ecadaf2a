"""What goes on on this robot now: at most one change, and whoever may end it.

A change is made by the thread of the connection that asked for it, called off by another connection's, ended by the
probation's own thread, and left alone by the keeper's. What these threads have to agree on is here, and nowhere else.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.core.release import Release
from model_registry.core.transfer import Transfer
from stack.agent.disk.lease import Lease
from stack.agent.reports import Failure, Result

_LOOK_S = 0.05


class Ongoing(Protocol):
    """A deployment that has begun and not ended."""

    identity: str
    release: Digest
    transfer: Transfer | None
    """How far a fetch is that goes on now."""
    restore: Failure | None
    """Why the way back did not work, if it did not."""

    @property
    def stage(self) -> str:
        """One of the journal's stages."""


class OnProbation(Protocol):
    """A release that drives and waits for its commit."""

    @property
    def release(self) -> Release: ...

    def commit(self) -> Result:
        """Make it permanent. Raises FailedError or RefusedError when it was taken back."""

    def roll_back(self) -> Result:
        """Let the release before it drive again."""


class Waiting(Protocol):
    """A permission that is asked for."""

    def document(self) -> dict[str, object]:
        """Schema agent, `wait` of the status."""


@dataclass(slots=True)
class Work:
    """What goes on now, as its threads see it."""

    claim: Lease
    """Who changes this robot may hold it, one at a time."""
    busy: threading.RLock = field(default_factory=threading.RLock)
    """Held while somebody changes slots: the keeper leaves them alone."""
    abort: threading.Event = field(default_factory=threading.Event)
    """Set by who wants the change to end."""
    active: Ongoing | None = None
    """The deployment that goes on."""
    probation: OnProbation | None = None
    """The release that waits for its commit; its deployment is still `active`."""
    permission: Waiting | None = None
    """What a change asks the robot for while it waits."""
    trouble: str | None = None
    """What keeps the committed release from running, as the keeper last saw it."""

    @property
    def idle(self) -> bool:
        """Whether nothing is staged, changed or on probation."""
        return self.active is None and self.probation is None

    def claimed(self) -> None:
        """Somebody holds the claim anew: that the change before it was called off is not his matter."""
        self.abort.clear()

    def begin(self, deployment: Ongoing) -> None:
        """A deployment goes on from now."""
        self.active = deployment

    def waits_for(self, permission: Waiting) -> None:
        """The change waits for the robot's permission."""
        self.permission = permission

    def on_probation(self, probation: OnProbation) -> None:
        """From now on the claim belongs to this probation."""
        self.probation = probation

    def end(self, fence: int) -> None:
        """The change under the claim of this fence is over, and the claim is given back.

        Nothing happens while a probation goes on, or when the claim ran out and somebody else has taken it.
        """
        if self.probation is None and self.claim.fence == fence:
            self.permission = None
            self.active = None
            self.claim.drop()

    def end_probation(self, fence: int) -> None:
        """The probation under the claim of this fence is decided."""
        self.probation = None
        self.end(fence)

    def call_off(self, longest_s: float, stopping: threading.Event) -> None:
        """Ask the deployment that goes on to end, and wait until it has, or is on probation.

        Raises HomeportError when its end is not in sight after `longest_s` seconds, or when the agent stops.
        """
        deployment = self.active
        fence = self.claim.fence
        deadline = time.monotonic() + longest_s
        self.abort.set()
        while deployment is not None and self.probation is None and not self._over(deployment, fence):
            if stopping.wait(_LOOK_S) or time.monotonic() >= deadline:
                text = "its end was asked for and takes longer; ask for the status"
                raise HomeportError(f"{deployment.identity}: {text}")

    def _over(self, deployment: Ongoing, fence: int) -> bool:
        """Whether a deployment has ended and whoever made it has given the claim back."""
        still_claimed = 0 < fence == self.claim.fence
        return self.active is not deployment and not still_claimed
