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
PROGRAMS = ("make", "ssh", "git", "cd", "source", "sudo", ".venv/bin/")
BLOCK = re.compile(r"^(?: {4}| {8})(\S.*)$")
HEADING = re.compile(r"^#+ +(.*?)\s*$")
INLINE = re.compile(r"`(make [a-z][^`]*)`")


class Command(NamedTuple):
    """One line to type, and the heading that it stands under."""

    section: str
    line: str


def typed(line: str) -> str | None:
    """The command in a line of a block; None for text, and for what is printed."""
    block = BLOCK.match(line)
    if block is None:
        return None
    word = block[1].split()[0]
    is_program = any(word.startswith(name) if name.endswith("/") else word == name for name in PROGRAMS)
    return block[1] if is_program else None


def commands(text: str) -> list[Command]:
    """The commands of a Markdown document, in its order; one that is named again in the same section is given once."""
    return list(dict.fromkeys(_lines(text)))


def _lines(text: str) -> Iterator[Command]:
    section = ""
    for line in text.splitlines():
        heading = HEADING.match(line)
        command = typed(line)
        if heading is not None:
            section = heading[1]
        elif command is not None:
            yield Command(section, command)
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
    """The numbered steps of a section, each with the commands of its blocks."""
    numbers: list[int] = []
    commands: dict[int, list[str]] = {}
    for line in body.splitlines():
        if begun := _STEP.match(line):
            numbers.append(int(begun[1]))
            commands[numbers[-1]] = []
        elif numbers:
            command = typed(line)
            commands[numbers[-1]] += [] if command is None else [command]
    return [Step(number, tuple(commands[number])) for number in numbers]
