"""What a slot hears of each of its inputs, and what is wrong with it: `sources` in the slot status.

Faults are told whether or not there is a command to obey, so that a robot can be looked at before it is armed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stack.engine.words import stops
from stack.policy.faults import Publishers, sentence
from stack.policy.sources import Latest, Order


class SlotInput(NamedTuple):
    """An input: its topic, its message type, and who takes its messages (as bytes when `raw`).

    Every publisher is heard, whatever it offers: a subscription that is best effort and volatile asks for nothing, so
    that it matches all. Where a sample counts that was published before the slot started (`kept`), a second one,
    reliable and transient local, asks for it; what comes through both changes nothing the second time. A frame or scan
    from before must not count: without stamps, its arrival would make it look new.
    """

    name: str
    kind: type
    topic: str
    take: Callable[[Any], None]
    kept: bool = False
    raw: bool = False

    @property
    def type_name(self) -> str:
        """Such as sensor_msgs/msg/Image."""
        return f"{self.kind.__module__.partition('.')[0]}/msg/{self.kind.__name__}"


class SlotInputs:
    """The inputs by name, and which of them the model needs; `words`: whether it goes by words.

    `publishers` says who publishes those that are silent; who knows the graph fills it in.
    """

    def __init__(
        self,
        sensors: Mapping[str, Latest[Any]],
        needed: frozenset[str],
        command: Latest[Order],
        detections: Latest[bytes] | None,
        *,
        words: bool = True,
    ) -> None:
        self.inputs: dict[str, Latest[Any]] = {**sensors, "command": command}
        if detections is not None:
            self.inputs["detections"] = detections
        self.publishers: dict[str, Publishers] = {}
        self.needed = needed
        self._command = command
        self._words = words

    def silent(self, now: float) -> list[str]:
        """The inputs of which nothing has come for too long. `now` is monotonic s."""
        return [name for name, source in self.inputs.items() if source.silent(now)]

    def document(self, now: float, ros_now_ns: int) -> dict[str, object]:
        """Each input in the slot status.

        `fault` is a word of faults.py, and null for what is well or not needed. `error` is its sentence; without a
        fault it says why the last message that could not be used was refused.
        """
        found: dict[str, object] = {}
        for name, source in self.inputs.items():
            fault = self._fault(name, now, ros_now_ns)
            seen = self.publishers.get(name)
            error = source.error if fault is None else sentence(name, fault, source, now, ros_now_ns, seen)
            needed = name in self.needed
            found[name] = {**source.to_dict(now), "needed": needed, "fault": fault, "error": error}
        return found

    def _fault(self, name: str, now: float, ros_now_ns: int) -> str | None:
        if name in self.needed:
            return self.inputs[name].fault(now, ros_now_ns)
        if name == "command":
            return self._command_fault()
        return self._detections_fault() if name == "detections" else None

    def _command_fault(self) -> str | None:
        """That nobody has said anything yet is no fault, as long as somebody is there who would pass it on."""
        order = self._command.get()
        seen = self.publishers.get("command")
        if self._command.refused:
            return "unreadable"
        if order is None:
            if not self._words:
                return None
            return "missing" if seen is not None and not seen.names else None
        text = order.value.command.text
        if not self._words:
            return None
        return "unknown_words" if text.strip() and not order.value.moves and not stops(text) else None

    def _detections_fault(self) -> str | None:
        """Nothing waits for them, so that only what can never be heard is a fault."""
        seen = self.publishers.get("detections")
        never = self.inputs["detections"].get() is None
        return "missing" if never and seen is not None and seen.mismatched else None
