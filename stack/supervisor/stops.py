"""What people and other programs stop the robot with.

E-stop buttons, spoken words, and signs that somebody is not heard or speaks in another's place.

The tick thread fills it while it takes messages; then `take` and `reasons` are called once a tick. Other threads only
call `trip` and set `unheard`.
"""

from __future__ import annotations

from collections import deque

from model_registry.core.robot import Robot
from stack.supervisor.buttons import Buttons
from stack.supervisor.command import VoiceCommand
from stack.supervisor.graph import RosGraph, Unheard
from stack.supervisor.state import NONE, Reason

ESTOP_TOPIC = "/safety/estop"
MAX_STRANGERS = 16
Event = tuple[str, str]
"""What happened, and the words for it."""


class Stops:
    """All of one robot. Times are monotonic seconds."""

    def __init__(self, robot: Robot) -> None:
        self.buttons = Buttons()
        self.voice_command = VoiceCommand(None, robot.stop_words)
        self.graph = RosGraph((ESTOP_TOPIC, robot.topics.get("voice", "")))
        self.unheard = Unheard()
        """Replaced as a whole by the thread that looks at the graph."""
        self._strangers: set[tuple[str, bytes]] = set()
        self.voice: deque[str] = deque()
        """Texts since the last tick, as many as the middleware's queue holds."""
        self.trips: deque[Reason] = deque()
        self._flooded: set[str] = set()
        self.events: list[Event] = []

    def trip(self, reason: Reason) -> None:
        """From any thread: `reason` holds in the next tick, however often it is said."""
        if reason not in self.trips:
            self.trips.append(reason)

    def estop(self, pressed: bool, at_s: float, publisher: bytes, number: int) -> None:
        """A message of one button. One that is pressed and let go between two ticks still latches."""
        self.buttons.hear(publisher, number, pressed, at_s)
        if pressed:
            self.trip(Reason.ESTOP)

    def overflow(self, topic: str) -> None:
        """More came on the e-stop or voice topic than can be told apart.

        What was lost may have been a stop, so it counts as one. It is told once.
        """
        self.trip(Reason.ESTOP)
        if topic not in self._flooded:
            self.events.append(("overflow", f"{topic}: more messages than a tick can take; stop whoever floods it"))
        self._flooded.add(topic)

    def accuse(self, topic: str, publisher: bytes) -> None:
        """Somebody publishes on a topic that is another's.

        That latches, and who it is, is told until somebody resets.
        """
        self.trip(Reason.SECOND_WRITER)
        if len(self._strangers) < MAX_STRANGERS:
            self._strangers.add((topic, publisher))

    @property
    def strangers(self) -> list[str]:
        """Who published in our place or a slot's since somebody has reset, a sentence each."""
        found = sorted(self._strangers.copy())
        return [f"{topic}: {self.name(publisher)} writes it as well; stop it, then reset" for topic, publisher in found]

    def name(self, publisher: bytes) -> str:
        """The node of a publisher, or its GID where the graph has no node for it."""
        return self.graph.names.get(publisher, f"a publisher with GID {publisher.hex()}")

    def take(self, now_s: float) -> None:
        """Take the commands that were spoken since the last tick.

        Every stop among them counts, and the newest of the others.
        """
        before = self.voice_command.seq
        while self.voice:
            if self.voice_command.accept(self.voice.popleft(), now_s):
                self.trip(Reason.ESTOP)
        self.voice_command.expire(now_s)
        if self.voice_command.seq != before:
            self.events.append(("command", self.voice_command.text or ""))

    def rest(self) -> None:
        """The robot is commanded to stand: a stop that was spoken is carried out."""
        if ignored := self.voice_command.rest():
            self.events.append(("ignored", f"{ignored} commands came before the robot stood; say them again"))

    def reasons(self, now_s: float) -> Reason:
        """What holds in this tick; tripped reasons are told once."""
        self.buttons.tidy(self._present, now_s)
        reasons = NONE
        while self.trips:
            reasons |= self.trips.popleft()
        reasons |= Reason.ESTOP if self.buttons.pressed else NONE
        return reasons | (Reason.UNHEARD if self.unheard.stops else NONE)

    def reset(self, gone: bool, now_s: float) -> None:
        """An operator resets; with `gone`, buttons that vanished are forgotten, pressed or not."""
        self._strangers.clear()
        self._flooded.clear()
        if gone:
            self.buttons.forget(self._present, now_s)

    def remedies(self, now_s: float) -> list[str]:
        """What to do about the buttons that are pressed."""
        gone = set(self.buttons.gone(self._present, now_s))
        found: list[str] = []
        for publisher in self.buttons.holding():
            if publisher in gone:
                found.append(
                    f"look at the e-stop of {self.name(publisher)}, which vanished while pressed (`reset --gone`)"
                )
            else:
                found.append(f"let go the e-stop of {self.name(publisher)}")
        return found

    @property
    def _present(self) -> frozenset[bytes]:
        return self.graph.present.get(ESTOP_TOPIC, frozenset())

    def document(self, now_s: float) -> dict[str, object]:
        """What `status` says of it."""
        gone = set(self.buttons.gone(self._present, now_s))
        buttons = [
            {"publisher": self.name(each), "pressed": pressed, "gone": each in gone} for each, pressed in self.buttons
        ]
        return {"buttons": buttons, "strangers": self.strangers}
