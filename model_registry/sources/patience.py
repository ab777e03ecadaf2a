"""How long a transfer goes on trying.

Tries count only while nothing arrives: whatever moves on starts the count anew. A registry that never answered is given
up after a few tries, because mostly its name is wrong; one that did answer may be away for 10 minutes, or for
`HOMEPORT_LINK_PATIENCE` seconds. What it asks for with Retry-After is waited for within the same budget.
"""

from __future__ import annotations

import os
import random
import threading
import time

from model_registry.core.errors import HomeportError, LinkError, UsageError

TRIES = 4
BUDGET_S = 600.0
SHORT_S = 2.0
"""For a mirror: behind it there is another source."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 60.0


class TransferError(LinkError):
    """The registry could not be reached, or went away in the middle; trying again may help.

    `asked_s` is how many seconds the registry asks to be left alone (Retry-After).
    """

    def __init__(self, message: object, asked_s: float | None = None) -> None:
        super().__init__(message)
        self.asked_s = asked_s


class CancelledError(HomeportError):
    """Another part of the same transfer failed, and its error is the one to show."""


class Contact:
    """What all requests to one registry share: whether it ever answered, and how long it may be away."""

    def __init__(self, short: bool = False) -> None:
        self.tries = 1 if short else TRIES
        self.budget_s = SHORT_S if short else _budget_s()
        self.reached = False


def _budget_s() -> float:
    """`HOMEPORT_LINK_PATIENCE`, in seconds. Raises UsageError."""
    given = os.environ.get("HOMEPORT_LINK_PATIENCE")
    try:
        return max(0.0, float(given)) if given else BUDGET_S
    except ValueError:
        raise UsageError(f"HOMEPORT_LINK_PATIENCE: expected seconds, got {given!r}") from None


class LinkPatience:
    """The tries of one action."""

    def __init__(self, contact: Contact, stop: threading.Event | None = None) -> None:
        self._contact = contact
        self._stop = stop or threading.Event()
        self._tries = 0
        self._since_s: float | None = None

    def progress(self) -> None:
        """Something arrived."""
        self._tries = 0
        self._since_s = None

    def wait(self, error: TransferError) -> None:
        """Pause before the next try. Raises `error` when it has been tried long enough."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        self._tries += 1
        pause_s = self._pause_s(error.asked_s)
        left_s = self._since_s + self._contact.budget_s - now_s
        if error.asked_s is not None and pause_s > left_s:
            raise TransferError(
                f"{error}; it asks to be left alone for {error.asked_s:.0f} s, longer than {max(left_s, 0):.0f} s are "
                "waited: try again then"
            ) from error
        hopeless = error.asked_s is None and not self._contact.reached and self._tries >= self._contact.tries
        if hopeless or pause_s > left_s:
            raise error
        if self._stop.wait(pause_s):
            raise CancelledError("called off; try again") from error

    def _pause_s(self, asked_s: float | None) -> float:
        """What is asked for and a little more, so that not all come back at once; never less than our own pause."""
        own_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._tries - 1, 20), _LONGEST_PAUSE_S / 1.5)
        own_s *= random.uniform(0.5, 1.5)
        if asked_s is None:
            return own_s
        return max(own_s, asked_s + random.uniform(0.0, min(1.0, 0.1 + asked_s / 10)))
