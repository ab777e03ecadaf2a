"""What a document tells its reader to type, in its order: `commands(text)` gives (section, command) pairs.

A command stands in an indented block, on a line that begins with a program of `PROGRAMS`, or inside a sentence between
backticks, when it is a `make` with a target. Other lines of blocks are what is printed, and are left out.

    for section, command in commands(Path("README.md").read_text()):
        print(section, command, sep=": ")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

PROGRAMS = ("make", "ssh", "git", "cd", "sudo", ".venv/bin/")
BLOCK = re.compile(r"^(?: {4}| {8})(\S.*)$")
HEADING = re.compile(r"^#+ +(.*?)\s*$")
INLINE = re.compile(r"`(make [a-z][^`]*)`")


class Command(NamedTuple):
    """One line to type, and the heading that it stands under."""

    section: str
    line: str


def begins_with_a_program(line: str) -> bool:
    """Whether a line of a block is to be typed."""
    word = line.split()[0]
    return any(word.startswith(name) if name.endswith("/") else word == name for name in PROGRAMS)


def commands(text: str) -> list[Command]:
    """The commands of a Markdown document, in its order; one that is named again in the same section is given once."""
    return list(dict.fromkeys(_lines(text)))


def _lines(text: str) -> Iterator[Command]:
    section = ""
    for line in text.splitlines():
        heading = HEADING.match(line)
        block = BLOCK.match(line)
        if heading is not None:
            section = heading[1]
        elif block is not None and begins_with_a_program(block[1]):
            yield Command(section, block[1])
        else:
            for found in INLINE.findall(line):
                yield Command(section, found)
