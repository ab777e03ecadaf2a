"""One topic as the supervisor hears it.

Through as many subscriptions as it takes to hear every publisher, each message once, none lost without a word.

No single subscription hears everybody. One that is best effort and volatile matches every publisher, yet a lost
datagram is not sent again, and what a publisher has kept for latecomers is not given to it. So topics whose single
messages count are heard three times: best effort, reliable, and reliable with what was kept (transient local). The same
message then comes up to three times and counts once, by its publisher and its number.

A queue of the middleware drops the oldest message when it is full. A tick that finds one full therefore cannot know
what it has lost, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from stack.supervisor.ears import HeardSample

_REMEMBERED = 2048


class Arrived(NamedTuple):
    """One message as it was sent (CDR bytes).

    With its publisher's GID, its number among that publisher's, and when the middleware had it: `at_s` is monotonic,
    `ros_s` the same moment in ROS time.
    """

    data: bytes
    publisher: bytes
    number: int
    at_s: float
    ros_s: float


class Subscription(Protocol):
    """A subscription."""

    def take(self) -> HeardSample | None: ...


class InputTopic:
    """One topic.

    `depth` is that of its subscriptions' queues; `on_message` is called for each message, `on_overflow` when older ones
    may have been lost.
    """

    def __init__(
        self,
        ears: Sequence[Subscription],
        depth: int,
        on_message: Callable[[Arrived], None],
        on_overflow: Callable[[], None] | None = None,
    ) -> None:
        self._takes = tuple(ear.take for ear in ears)
        self._depth = depth
        self._on_message = on_message
        self._on_overflow = on_overflow
        self._seen: dict[tuple[bytes, int], None] = {}

    def take(self, since_s: float, now_s: float, ros_s: float) -> None:
        """Hand on what came between two ticks (monotonic s).

        `ros_s` is `now_s` in ROS time, which is the system clock without simulated time.
        """
        for heard in self._news():
            # A clock that was set meanwhile makes nonsense of it.
            waited_s = ros_s - heard.received_ns * 1e-9
            at_s = now_s - min(max(waited_s, 0.0), max(0.0, now_s - since_s))
            self._on_message(Arrived(heard.data, heard.publisher, heard.number, at_s, ros_s - (now_s - at_s)))

    def _news(self) -> list[HeardSample]:
        """Everything that was not heard before, in the order of arrival."""
        found: list[HeardSample] = []
        for take in self._takes:
            heard = take()
            if heard is not None:
                self._empty(take, heard, found)
        if len(self._takes) == 1 or not found:
            return found
        found.sort(key=lambda heard: heard.received_ns)
        return [heard for heard in found if self._is_new(heard.publisher, heard.number)]

    def _empty(self, take: Callable[[], HeardSample | None], first: HeardSample, found: list[HeardSample]) -> None:
        """Add what one subscription holds to `found`, no more than its queue has room for."""
        heard: HeardSample | None = first
        count = 0
        while heard is not None:
            found.append(heard)
            count += 1
            heard = take() if count < self._depth else None
        if count >= self._depth and self._on_overflow is not None:
            self._on_overflow()

    def _is_new(self, publisher: bytes, number: int) -> bool:
        key = publisher, number
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
