"""Who publishes on the supervisor's topics, and who of them it cannot hear.

A publisher that ROS does not connect to us is silence: no message, no error. It is in the graph all the same, so it is
looked for there: one that sends another type, or that asks for what our subscriptions do not give, or that ROS leaves
unconnected for no reason that the graph shows (a DDS partition, another middleware). On the e-stop or the voice topic
such a publisher may be a button that nobody hears, and the robot must not move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_PATIENCE_S = 2.0
"""How long a publisher may be in the graph before it is connected; discovery takes part of a second."""
_REMEMBERED = 128
_NAMELESS = ("_NODE_NAME_UNKNOWN_", "")


class Endpoint(NamedTuple):
    """A publisher in the graph.

    Its GID, node, type (`std_msgs/msg/Bool`), and why its QoS does not match ours; None when it does.
    """

    gid: bytes
    node: str
    kind: str
    mismatch: str | None


@dataclass(frozen=True, slots=True)
class TopicView:
    """One topic at one moment.

    The type we hear, its publishers, and how many of them our subscriptions are connected to.
    """

    topic: str
    kind: str
    endpoints: tuple[Endpoint, ...]
    connected: int


@dataclass(frozen=True, slots=True)
class Unheard:
    """What cannot be heard, a sentence each, and whether that may be somebody who wants to stop the robot."""

    sentences: tuple[str, ...] = ()
    stops: bool = False


def node_name(namespace: str, name: str, gid: bytes) -> str:
    """A node as people write it; a publisher that ROS has no node for is told by its GID."""
    if name in _NAMELESS:
        return f"a publisher without a node ({gid.hex()})"
    return f"{namespace.rstrip('/')}/{name}"


class RosGraph:
    """What was seen at every look.

    `names` gives a publisher's node by its GID; `present` has the publishers of each topic.
    """

    def __init__(self, must_be_heard: Sequence[str]) -> None:
        self._must_be_heard = frozenset(must_be_heard)
        self._short_since: dict[str, float] = {}
        self.names: dict[bytes, str] = {}
        self.present: Mapping[str, frozenset[bytes]] = {}

    def look(self, views: Sequence[TopicView], now_s: float) -> Unheard:
        """Take what the graph shows now (monotonic s), and say who is not heard."""
        found: list[tuple[str, str]] = []
        for view in views:
            found += [(view.topic, sentence) for sentence in self._of_topic(view, now_s)]
        seen = {end.gid: end.node for view in views for end in view.endpoints}
        # Whoever is gone keeps its name, for as long as somebody may ask for it.
        before = list(self.names.items())[-_REMEMBERED:]
        self.names = {**dict(before), **seen}
        self.present = {view.topic: frozenset(end.gid for end in view.endpoints) for view in views}
        stops = any(topic in self._must_be_heard for topic, _ in found)
        return Unheard(tuple(sentence for _, sentence in found), stops)

    def _of_topic(self, view: TopicView, now_s: float) -> list[str]:
        sentences: list[str] = []
        well: list[Endpoint] = []
        for end in view.endpoints:
            if end.kind != view.kind:
                sentences.append(
                    f"{view.topic}: {end.node} sends {end.kind}, expected {view.kind}; change its type or its topic"
                )
            elif end.mismatch is not None:
                sentences.append(f"{view.topic}: {end.node} is not connected, {end.mismatch}; change its QoS")
            else:
                well.append(end)
        if len(well) <= view.connected:
            self._short_since.pop(view.topic, None)
        elif now_s - self._short_since.setdefault(view.topic, now_s) > _PATIENCE_S:
            nodes = ", ".join(sorted(end.node for end in well))
            sentences.append(
                f"{view.topic}: {len(well) - view.connected} of its publishers ({nodes}) stay unconnected;"
                " look for a DDS partition, a security setting or another middleware"
            )
        return sentences
