"""The commands that the reference policy understands, the words for each, and the tokenizer file made from them."""

from __future__ import annotations

import json

from stack.sim.scene import COLORS

TOKENS = 10
PAD = 0
UNKNOWN = 1

_GO_TO = (
    "go to the {} pillar",
    "go to {}",
    "drive to the {} pillar",
    "move to the {} pillar",
    "find the {} pillar",
    "approach the {} pillar",
    "please go to the {} pillar",
    "head to the {} column",
    "{} pillar",
)
PHRASES: dict[str, tuple[str, ...]] = {
    **{f"go to the {color} pillar": tuple(text.format(color) for text in _GO_TO) for color in COLORS},
    "turn left": ("turn left", "rotate left", "please turn left", "go left", "left"),
    "turn right": ("turn right", "rotate right", "please turn right", "go right", "right"),
    "go forward": ("go forward", "drive forward", "move forward", "go straight", "drive straight", "forward"),
    "stop": ("stop", "halt", "stand still", "please stop", "stop now"),
    "": ("", "quux", "quux quux"),
}
"""All texts that mean a command, the canonical one first; the empty command stands for any text without a known word:
standing still.
"""

COMMANDS = tuple(PHRASES)
_WORDS = sorted({word for texts in PHRASES.values() for text in texts for word in text.split()} - {"quux"})
VOCABULARY = {"<pad>": PAD, "<unk>": UNKNOWN, **{word: index for index, word in enumerate(_WORDS, start=2)}}


def tokenizer_json() -> bytes:
    """A Hugging Face `tokenizers` file: lower case, split at white space, whole words; id 0 pads and 1 is any unknown
    word.
    """
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": VOCABULARY[text], "content": text, **flags, "special": True} for text in ("<pad>", "<unk>")
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "<unk>"},
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
