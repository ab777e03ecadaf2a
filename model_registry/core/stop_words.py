"""Which spoken or written commands mean "stop".

The supervisor, a slot's tokenizer and the simulator ask the same function.

    words = StopWords()                                   # the built-in English words
    words = StopWords(stop=("arrête",), emergency=("arrêt d'urgence",))    # and a site's own, from robot.toml
    words.heard_in("No, stop!")                           # Meaning.STOP
    words.heard_in("Emergency stop! Emergency stop!")     # Meaning.EMERGENCY

A text is brought to one form (NFKC, case folded) and split at everything that is neither a letter nor a digit. It means
stop when a stop word is among its words, wherever: a speech recogniser writes "Stop! Stop!", "No, stop!" or "stop。"
for the same shout, and a robot that stops once too often costs seconds. In scripts that put no blanks between words
(Chinese, Japanese, Thai, …) a word is looked for anywhere in the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache

from model_registry.core.documents import Reader
from model_registry.core.errors import UsageError

STOP = ("stop", "halt", "freeze", "stand still")
EMERGENCY = ("estop", "e-stop")
_ALARM = "emergency"
LONGEST = 4096
"""Characters of one text that are looked at: several minutes of speech."""
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_BREAK = " "
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI ", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "HANGUL")
"""Scripts without blanks between words, and Hangul, whose words carry endings; by how Unicode names their letters."""

Words = tuple[str, ...]


class Meaning(Enum):
    """What a text asks for."""

    NOTHING = "nothing"
    STOP = "stop"
    EMERGENCY = "emergency"


def words_of(text: str) -> Words:
    """The words of a text in one form: letters with their marks, and digits.

    A letter of an unspaced script is a word of its own.
    """
    text = text[:LONGEST]
    if text.isascii():
        return tuple(_ASCII_WORD.findall(text.lower()))
    # Half width and full width, composed and not, upper and lower case are one.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return tuple("".join(map(_apart, folded)).split())


@lru_cache(LONGEST)
def _apart(letter: str) -> str:
    """A letter as it is, or with breaks around it, or a break in place of everything else."""
    if unicodedata.category(letter)[0] not in "LMN":
        return _BREAK
    unspaced = unicodedata.name(letter, "").startswith(_UNSPACED)
    return f"{_BREAK}{letter}{_BREAK}" if unspaced else letter


@dataclass(frozen=True)
class StopWords:
    """The built-in English words, which nothing takes away, and a site's own words in any script.

    `stop` and `emergency` are the site's; each may be several words long.
    """

    stop: tuple[str, ...] = ()
    emergency: tuple[str, ...] = ()

    @classmethod
    def read(cls, reader: Reader) -> StopWords:
        """From `[voice]` of robot.toml: the lists `stop` and `emergency`, both optional.

        Raises UsageError for a word without a letter or digit.
        """
        found = {key: reader.items(key, _phrase) if reader.has(key) else () for key in ("stop", "emergency")}
        return cls(**found)

    @cached_property
    def _stops(self) -> frozenset[Words]:
        return frozenset(map(words_of, (*STOP, *self.stop)))

    @cached_property
    def _emergencies(self) -> frozenset[Words]:
        return frozenset(map(words_of, (*EMERGENCY, *self.emergency)))

    def heard_in(self, text: str) -> Meaning:
        """What `text` asks for: an emergency stop, a stop, or neither.

        An emergency stop is one of its own words, or "emergency" together with a stop word.
        """
        words = words_of(text)
        stops = _contains(words, self._stops)
        if _contains(words, self._emergencies) or (stops and _ALARM in words):
            return Meaning.EMERGENCY
        return Meaning.STOP if stops else Meaning.NOTHING


def _phrase(value: object, path: str) -> str:
    if not isinstance(value, str) or not words_of(value):
        raise UsageError(f"{path}: expected a word with letters or digits, got {value!r}; write what is shouted")
    return value


def _contains(words: Words, phrases: frozenset[Words]) -> bool:
    """Whether one of the phrases is among the words, word after word."""
    lengths = {len(phrase) for phrase in phrases}
    return any(words[at : at + length] in phrases for length in lengths for at in range(len(words) - length + 1))
