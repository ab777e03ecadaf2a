"""The e-stop buttons: each publisher on the topic is one, and pressed until it says itself that it was let go.

One button's `False` says nothing of another's. A button that vanishes while it is pressed stays pressed: a cable that
was torn off is no permission to drive. Somebody who has looked at it may have it forgotten (`reset --gone`), once its
publisher is gone from the ROS graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

MAX_BUTTONS = 64
"""More publishers than any robot has; the e-stop counts as pressed then."""
_SETTLED_S = 2.0
"""Whoever spoke this recently may not be in the graph yet."""


@dataclass(slots=True)
class Button:
    """The newest word of one publisher, its number, and when it came (monotonic s)."""

    pressed: bool
    number: int
    at_s: float


class Buttons:
    """Every publisher that has spoken, by its GID."""

    def __init__(self) -> None:
        self._all: dict[bytes, Button] = {}
        self.crowded = False
        """Somebody could not be kept apart any more."""

    def hear(self, publisher: bytes, number: int, pressed: bool, at_s: float) -> None:
        """Take a message. An older one that comes late changes nothing."""
        known = self._all.get(publisher)
        if known is None and len(self._all) >= MAX_BUTTONS:
            self.crowded = True
        elif known is None or number >= known.number:
            self._all[publisher] = Button(pressed, number, at_s)

    @property
    def pressed(self) -> bool:
        return self.crowded or any(button.pressed for button in self._all.values())

    @property
    def quietest_s(self) -> float:
        """When the one that was silent for the longest has spoken last (monotonic s)."""
        return min((button.at_s for button in self._all.values()), default=float("-inf"))

    def gone(self, present: Collection[bytes], now_s: float) -> list[bytes]:
        """Who has spoken and is not among the publishers that are `present` in the graph."""
        return [
            publisher
            for publisher, button in self._all.items()
            if publisher not in present and now_s - button.at_s > _SETTLED_S
        ]

    def tidy(self, present: Collection[bytes], now_s: float) -> None:
        """Forget those that are gone and were not pressed, while somebody else is there."""
        for publisher in self.gone(present, now_s):
            if not self._all[publisher].pressed and len(self._all) > 1:
                del self._all[publisher]

    def forget(self, present: Collection[bytes], now_s: float) -> None:
        """Somebody has looked: forget all that are gone, pressed or not."""
        for publisher in self.gone(present, now_s):
            del self._all[publisher]
        self.crowded = False

    def __iter__(self) -> Iterator[tuple[bytes, bool]]:
        """Every publisher, and whether it is pressed."""
        return ((publisher, button.pressed) for publisher, button in self._all.items())

    def holding(self) -> list[bytes]:
        """Who is pressed."""
        return [publisher for publisher, button in self._all.items() if button.pressed]
