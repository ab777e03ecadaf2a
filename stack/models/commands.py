"""The commands that the reference policy understands, the words for each, and the tokenizer file made from them."""

from __future__ import annotations

import json

from stack.sim.scene import COLORS

COMMANDS: tuple[str, ...] = (
    *(f"go to the {color} pillar" for color in COLORS),
    "turn left",
    "turn right",
    "go forward",
    "stop",
    "",
)
"""One canonical text for each behaviour; the empty one stands for any text without a known word and means standing still."""

TOKENS = 10
PAD, UNKNOWN = 0, 1

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
_PHRASES: dict[str, tuple[str, ...]] = {
    "turn left": ("turn left", "rotate left", "please turn left", "go left", "left"),
    "turn right": ("turn right", "rotate right", "please turn right", "go right", "right"),
    "go forward": ("go forward", "drive forward", "move forward", "go straight", "drive straight", "forward"),
    "stop": ("stop", "halt", "stand still", "please stop", "stop now"),
    "": ("", "quux", "quux quux"),
}


def phrases(command: str) -> tuple[str, ...]:
    """All texts that mean `command` (one of COMMANDS); the first is the canonical one."""
    if command in _PHRASES:
        return _PHRASES[command]
    color = next(color for color in COLORS if f" {color} " in command)
    return tuple(template.format(color) for template in _GO_TO)


def tokenizer_json() -> bytes:
    """A Hugging Face `tokenizers` file: lower case, split at white space, whole words; id 0 pads and 1 is any unknown word."""
    words = sorted({word for command in COMMANDS for text in phrases(command) for word in text.split()} - {"quux"})
    vocabulary = {"<pad>": PAD, "<unk>": UNKNOWN, **{word: index for index, word in enumerate(words, start=2)}}
    special = [
        {
            "id": index,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for text, index in (("<pad>", PAD), ("<unk>", UNKNOWN))
    ]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def vocabulary_size() -> int:
    return len(json.loads(tokenizer_json())["model"]["vocab"])
