"""Who speaks on a sensor's topic, and in which frame: two drivers on one topic are a fault, one that was started again
is none.

    speakers = Speakers(max_age_s=0.5, name_of=bytes.hex)
    speakers.hear(publisher, at_s)  # every message, with the 16 bytes that the middleware gives its publisher
    speakers.fault(now_s)           # "two publishers: A and B; …", or None

A driver that ends and comes back is another publisher, and the old one is never heard again. So one new publisher is
taken over without a word. When one that was heard before speaks again after another one has spoken, both are alive:
their messages would replace each other, and the robot would see with each of them half of the time. That is a fault
until only one has spoken for a second.
"""

from __future__ import annotations

from collections.abc import Callable

ALONE_S = 1.0
"""Only one has to have spoken for this long, or for the source's largest age where that is longer."""
_REMEMBERED = 16
_FRAME_LENGTH = 64


class Speakers:
    """The publishers of one topic. Without an identity of its publisher (empty bytes) a message tells nothing."""

    def __init__(self, max_age_s: float, name_of: Callable[[bytes], str]) -> None:
        self._name_of = name_of
        self._alone_s = max(ALONE_S, max_age_s)
        self._heard_s: dict[bytes, float] = {}
        """When each spoke last, the newest one last."""
        self._pair: tuple[bytes, bytes] | None = None

    def hear(self, publisher: bytes, at_s: float) -> None:
        """Note that `publisher` spoke at `at_s` (monotonic s)."""
        if not publisher:
            return
        newest = next(reversed(self._heard_s), None)
        if newest is not None and newest != publisher and publisher in self._heard_s:
            self._pair = (newest, publisher)
        self._heard_s.pop(publisher, None)
        self._heard_s[publisher] = at_s
        if len(self._heard_s) > _REMEMBERED:
            del self._heard_s[next(iter(self._heard_s))]

    def fault(self, now_s: float) -> str | None:
        """Which two speak in turn, or None."""
        if self._pair is None:
            return None
        if now_s - min(self._heard_s.get(publisher, 0.0) for publisher in self._pair) > self._alone_s:
            self._pair = None
            return None
        first, second = sorted(map(self._name_of, self._pair))
        return f"two publishers: {first} and {second}; end one of them"


class FrameOfSource:
    """The frame (for odometry: both frames) that a source speaks of. The first one that is heard is expected until
    somebody resets.
    """

    def __init__(self) -> None:
        self._expected: tuple[str, ...] | None = None
        self._heard: tuple[str, ...] | None = None

    def hear(self, frames: tuple[str, ...]) -> None:
        self._heard = tuple(frame[:_FRAME_LENGTH] for frame in frames)
        if self._expected is None:
            self._expected = self._heard

    def forget(self) -> None:
        """Somebody resets: what is heard now is expected from now on."""
        self._expected = self._heard

    def fault(self, now_s: float) -> str | None:
        """Which frame is another one than before, or None."""
        if self._heard == self._expected or self._heard is None or self._expected is None:
            return None
        changed = [(was, is_) for was, is_ in zip(self._expected, self._heard, strict=True) if was != is_]
        was, now = changed[0]
        return f"another frame_id: {now!r}, before {was!r}; end the second driver, or reset when this is the right one"
