"""What a document tells its reader to type, in its order.

`commands(text)` gives (section, command) pairs of a whole document, `steps(section(…))` the numbered steps of a
section.

A command stands in an indented block, on a line that begins with a program of `PROGRAMS`, or inside a sentence between
backticks, when it is a `make` with a target. Other lines of blocks are what is printed, and are left out.

    for section, command in commands(Path("README.md").read_text()):
        print(section, command, sep=": ")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.fakes.ros import REPOSITORY

README = REPOSITORY / "README.md"
_STEP = re.compile(r"(\d+)\. ")
# Text of a numbered step is indented by three or four blanks, its commands by four more.
_COMMAND = re.compile(r" {7,}(?=\S)")
PROGRAMS = ("make", "ssh", "git", "cd", "source", "sudo", ".venv/bin/")
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


@dataclass(frozen=True)
class Step:
    """A numbered step of a section: its number, and its commands in order."""

    number: int
    commands: tuple[str, ...]


def section(heading: str, text: str | None = None) -> str:
    """The text below `## heading`, up to the next one. Raises AssertionError where there is none."""
    parts = re.split(r"(?m)^## (.+)\n", README.read_text() if text is None else text)
    assert heading in parts, f"{README.name} has no section {heading!r}"
    return parts[parts.index(heading) + 1]


def steps(body: str) -> list[Step]:
    """The numbered steps of a section. An indented line after the first step is one of its commands."""
    numbers: list[int] = []
    commands: dict[int, list[str]] = {}
    for line in body.splitlines():
        if begun := _STEP.match(line):
            numbers.append(int(begun[1]))
            commands[numbers[-1]] = []
        elif numbers and _COMMAND.match(line):
            commands[numbers[-1]].append(line.strip())
    return [Step(number, tuple(commands[number])) for number in numbers]
