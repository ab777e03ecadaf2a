"""The commands of README.md, taken from its own text, so that a test can type what a reader would type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.fakes.ros import REPOSITORY

README = REPOSITORY / "README.md"
_STEP = re.compile(r"(\d+)\. ")
# Text of a numbered step is indented by three or four blanks, its commands by four more.
_COMMAND = re.compile(r" {7,}(?=\S)")


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
