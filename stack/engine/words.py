"""Words to numbers with the tokenizer file of the model.

The result is the same everywhere, and words that it does not know give no motion.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_registry.core.contract.observation import TextRecipe
from model_registry.core.stop_words import Meaning, StopWords
from stack.engine.cache import Cache

_REMEMBERED = 32
_LONGEST = 1000
_STOP_WORDS = StopWords()


def stops(command: str) -> bool:
    """Whether a command means stop. A site's own words never come this far: the supervisor says "stop" for them."""
    return _STOP_WORDS.heard_in(command) is not Meaning.NOTHING


class Tokens(NamedTuple):
    """Token numbers and their mask, both [1, length]; `known`: whether the tokenizer knew any word of the text."""

    numbers: NDArray[Any]
    mask: NDArray[Any] | None
    known: bool


class CommandTokenizer:
    """Turns commands into tokens as a recipe says. `cache` has the last few."""

    def __init__(self, path: Path, recipe: TextRecipe) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._recipe = recipe
        model = self._tokenizer.model
        unknown = getattr(model, "unk_token", None)
        self._unknown = None if unknown is None else self._tokenizer.token_to_id(unknown)
        self.cache = Cache(self._encode, _REMEMBERED)

    def __call__(self, command: str) -> Tokens:
        """The tokens of any text, whether or not it may move a robot."""
        return self.cache(command)

    def moves(self, command: str) -> bool:
        """Whether a command may move the robot.

        An empty one and a stop word may not, nor, in a closed vocabulary, one without a known word.
        """
        if not command.strip() or stops(command):
            return False
        return not self._recipe.closed or self(command).known

    def _encode(self, command: str) -> Tokens:
        recipe = self._recipe
        command = command[:_LONGEST]
        bare = self._tokenizer.encode(command, add_special_tokens=False)
        strange = {recipe.pad_id, self._unknown}
        known = any(number not in strange for number in bare.ids[: recipe.length])
        encoded = self._tokenizer.encode(recipe.template.replace("{text}", command))
        numbers = encoded.ids[: recipe.length]
        gap = recipe.length - len(numbers)
        where = slice(gap, None) if recipe.pad_side == "left" else slice(0, len(numbers))
        tokens = np.full((1, recipe.length), recipe.pad_id, dtype=recipe.dtype)
        tokens[0, where] = numbers
        if recipe.mask is None:
            return Tokens(tokens, None, known)
        mask = np.zeros((1, recipe.length), dtype=recipe.mask)
        mask[0, where] = 1
        return Tokens(tokens, mask, known)
