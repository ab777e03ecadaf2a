"""The accepted voice command.

It lives here and not in a slot, so that a slot that starts in the middle of a task is told it, and "stop" needs no
model.
"""

from __future__ import annotations

import unicodedata

from model_registry.core.stop_words import Meaning, StopWords

MAX_TEXT = 200


def normalise(text: str) -> str:
    """Lower case, single spaces, no control characters, at most 200 characters."""
    plain = unicodedata.normalize("NFKC", text[: 4 * MAX_TEXT])
    printable = "".join(letter if letter.isprintable() else " " for letter in plain)
    return " ".join(printable.split()).lower()[:MAX_TEXT].strip()


class VoiceCommand:
    """Text, number and remaining life of the command in force. `life_s` None: until replaced or stopped."""

    def __init__(self, life_s: float | None, stop_words: StopWords | None = None) -> None:
        self._life_s = life_s
        self._stop_words = stop_words or StopWords()
        self._until_s: float | None = None
        self.text: str | None = None
        self.seq = 0
        self.stopped = False
        self.stopping = False
        """A stop is being carried out: until `rest`, only another stop is taken."""
        self.ignored = 0
        """Commands that came in the meantime."""

    def accept(self, text: str, now_s: float) -> bool:
        """Take a new command; True when it asks for an emergency stop. Empty text changes nothing."""
        words = normalise(text)
        heard = self._stop_words.heard_in(text)
        if not words and heard is Meaning.NOTHING:
            return False
        if self.stopping and heard is Meaning.NOTHING:
            self.ignored += 1
            return False
        self.stopped = self.stopping = heard is not Meaning.NOTHING
        self.text = "stop" if self.stopped else words
        self.seq += 1
        self._until_s = None if self.stopped or self._life_s is None else now_s + self._life_s
        return heard is Meaning.EMERGENCY

    def rest(self) -> int:
        """The robot is commanded to stand: commands are taken again. Returns how many were ignored since the stop."""
        ignored = self.ignored
        self.ignored = 0
        self.stopping = False
        return ignored

    def expire(self, now_s: float) -> None:
        """End a command whose life is over; the robot then stands as after "stop"."""
        if self._until_s is not None and now_s >= self._until_s:
            self._until_s = None
            self.stopped = True
            self.text = ""
            self.seq = self.seq + 1

    @property
    def mortal(self) -> bool:
        return self._until_s is not None

    def document(self, now_s: float) -> dict[str, object] | None:
        """What `/command` and `status` say; None before the first command."""
        if self.text is None:
            return None
        remaining = None if self._until_s is None else round(max(0.0, self._until_s - now_s), 3)
        return {"text": self.text, "seq": self.seq, "remaining_s": remaining}
