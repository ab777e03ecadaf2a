"""Words to numbers with the tokenizer file of the model.

The result is the same everywhere, and words that it does not know give no motion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_registry.core.stop_words import Meaning, StopWords
from stack.engine.cache import Cache

PAD = 0
UNKNOWN = 1
_REMEMBERED = 32
_STOP_WORDS = StopWords()


def stops(command: str) -> bool:
    """Whether a command means stop. A site's own words never come this far: the supervisor says "stop" for them."""
    return _STOP_WORDS.heard_in(command) is not Meaning.NOTHING


class CommandTokenizer:
    """Turns commands into int64 [1, length]. `cache` has the last few."""

    def __init__(self, path: Path, length: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._length = length
        self.cache = Cache(self._encode, _REMEMBERED)

    def __call__(self, command: str) -> NDArray[np.int64] | None:
        """The tokens of a command, or None when it must not move the robot.

        That is an empty command, a stop word, or one without a known word.
        """
        return self.cache(command)

    def _encode(self, command: str) -> NDArray[np.int64] | None:
        if stops(command):
            return None
        encoded = self._tokenizer.encode(command[:1000])
        numbers = encoded.ids[: self._length]
        words = (number for number, special in zip(numbers, encoded.special_tokens_mask, strict=False) if not special)
        if not set(words) - {PAD, UNKNOWN}:
            return None
        tokens = np.full((1, self._length), PAD, dtype=np.int64)
        tokens[0, : len(numbers)] = numbers
        return tokens
