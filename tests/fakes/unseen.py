"""Characters that nobody sees, and how a test finds them in what a program has said."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_RANGES = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x2064),
    (0x2066, 0x206F), (0xFEFF, 0xFEFF), (0xE0001, 0xE0001), (0xE0061, 0xE0061), (0x034F, 0x034F), (0x3164, 0x3164),
    (0xFE0F, 0xFE0F),
)  # fmt: skip
CHARACTERS = "".join(chr(number) for first, last in _RANGES for number in range(first, last + 1))
"""Controls, DEL, what turns the order of letters around, what has no width, and the ends of lines and paragraphs."""
HALVES = "\udc00\udfff\ud800"
"""Halves of surrogate pairs, as JSON can spell them and as undecodable names of files have them; no two make a whole.

"""
SEEN = "ä Ωд 日本 العربية ह ñ ✓ … –"
_WITHOUT_INK = "\u034f\u3164\ufe0f"


def groups(size: int = 6) -> Iterator[str]:
    """All of CHARACTERS in short texts: messages cut long ones."""
    for start in range(0, len(CHARACTERS), size):
        yield f"é{CHARACTERS[start : start + size]}\x1b[31mz"


def unseen(text: str) -> list[str]:
    """What nobody would see in a text of whole lines: by Unicode's own categories, whatever our code thinks of it."""
    found = {
        each
        for each in text
        if each != "\n" and unicodedata.category(each) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    }
    return sorted(ascii(each) for each in found | (set(text) & set(_WITHOUT_INK)))
