"""What is wrong with an input of a slot, in words that an operator can act on.

A fault is one word, for programs, and one sentence, for people: what is wrong with which numbers, a semicolon, and what
to do. Status, doctor and `/diagnostics` show the sentences as they stand here.

| word | the input … |
|---|---|
| `missing` | was never heard |
| `unreadable` | sends messages that cannot be used |
| `stale` | has not been heard for too long |
| `stale_stamp`, `future_stamp` | is heard, and its stamps are too old, or ahead of this robot's clock |
| `frozen` | shows the same few pictures again and again |
| `blind` | is a scan of which no beam says anything |
| `unknown_words` | is a command of which the model knows no word |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stack.policy.sources import FUTURE_S, Latest

CAMERA = "camera_"
"""An input of frames is called so, and like the robot's camera: camera_front."""
LONGEST = 400
"""Characters of a sentence."""
_MINUTE_S = 60.0
_HOUR_S = 3600.0
_DAY_S = 86_400.0
_OWN_CLOCK_S = 3650 * _DAY_S
"""A stamp that lies within so long after 1970 was counted from something else, such as the start of the device."""


@dataclass(frozen=True)
class Publishers:
    """Who publishes a topic that a slot reads as `kind`, as the middleware's graph has it.

    `names` are the nodes that publish that type, `others` pairs of a node and the other type that it publishes.
    """

    topic: str
    kind: str
    names: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, topic: str, kind: str, found: Iterable[tuple[str, str]]) -> Publishers:
        """`found` are (node, type) of every publisher."""
        listed = sorted(set(found))
        names = tuple(node for node, other in listed if other == kind)
        return cls(topic, kind, names, tuple((node, other) for node, other in listed if other != kind))

    @property
    def mismatched(self) -> bool:
        """Whether somebody publishes the topic, and nobody as it is read."""
        return bool(self.others) and not self.names


def sentence(
    name: str, word: str, source: Latest[Any], now: float, ros_now_ns: int, seen: Publishers | None = None
) -> str:
    """The sentence for a fault of an input; `seen` is who publishes it, where somebody has looked."""
    if word == "unreadable":
        subject = "camera" if name.startswith(CAMERA) else name
        text = (source.error or "cannot be read; look at its publisher").removeprefix(f"{subject}: ")
    elif word in ("missing", "stale"):
        text = _silence(name, source, now, seen)
    elif word in ("stale_stamp", "future_stamp"):
        text = _stamp(name, source, now, ros_now_ns)
    else:
        text = _PLAIN[word]
    return text[:LONGEST]


_PLAIN = {
    "frozen": "it shows the same few pictures again and again, whatever their stamps say; "
    "look at the camera and start its driver again",
    "blind": "no beam of its newest message says anything; clean the scanner, and look at range_min and at its driver",
    "unknown_words": "the model knows no word of the command; say one in the model's words",
}


def _silence(name: str, source: Latest[Any], now: float, seen: Publishers | None) -> str:
    newest = source.get()
    if newest is None:
        heard = "never heard"
    else:
        heard = f"last heard {duration(now - newest.at)} ago, {duration(source.max_age_s)} are accepted"
    if seen is None:
        return f"{heard}; start what publishes it"
    if seen.mismatched:
        node, kind = seen.others[0]
        return (
            f"{heard}: {node} publishes {kind} on {seen.topic}, and a slot reads {seen.kind}; "
            f"publish {seen.kind} there{_rename(name)}"
        )
    if not seen.names:
        who = "the supervisor" if name == "command" else "its driver"
        return (
            f"{heard}: nobody publishes {seen.topic}; start {who}, in the ROS domain of this robot "
            f"and with a transport that its DDS profile has{_rename(name)}"
        )
    return f"{heard}: {' and '.join(seen.names[:3])} should publish {seen.topic}; look at its log and at its rate"


def _rename(name: str) -> str:
    """How to tell the robot that a topic is called differently."""
    if name in ("scan", "odom"):
        return f", or give {name} in [topics] of robot.toml the name that it has"
    table = table_of(name)
    return f", or give [{table}] of robot.toml the topic that it has" if table else ""


def table_of(name: str) -> str | None:
    """The table of robot.toml that an input is described in."""
    if name.startswith(CAMERA):
        return f"cameras.{name.removeprefix(CAMERA)}"
    return f"sources.{name}" if name in ("scan", "odom", "joints") else None


def _stamp(name: str, source: Latest[Any], now: float, ros_now_ns: int) -> str:
    newest = source.get()
    if newest is None:
        return _silence(name, source, now, None)
    waited_s = now - newest.at
    age_s = (ros_now_ns - newest.stamp_ns) / 1e9 - waited_s
    if newest.stamp_ns == 0:
        said = "zero: its driver sets none"
    elif 0 < newest.stamp_ns < _OWN_CLOCK_S * 1e9:
        said = f"of a clock of its own ({duration(newest.stamp_ns / 1e9)} after its start)"
    elif age_s < -FUTURE_S:
        said = f"{duration(-age_s)} ahead of this robot's clock, {duration(FUTURE_S)} are accepted"
    else:
        said = f"{duration(age_s)} old when they arrive, {duration(source.max_age_s)} are accepted until the next"
    return (
        f"it is heard, and its stamps are {said}; set its clock by this robot's, "
        f"or say `stamps = false` in [{table_of(name)}] of robot.toml and start the slot again"
    )


def duration(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 1.0:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.0f} days"
