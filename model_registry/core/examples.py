"""The last lines of every `--help`: what somebody would type, to be read and copied.

A test lets each program parse its own.
"""

from __future__ import annotations


def examples(commands: tuple[str, ...]) -> str:
    """A heading and one indented line for each command; empty for none."""
    heading = "Example:" if len(commands) == 1 else "Examples:"
    return "\n".join((heading, *(f"  {command}" for command in commands))) if commands else ""


def click_epilog(*commands: str) -> str:
    """The same for click and typer, told not to wrap the lines."""
    return f"\b\n{examples(commands)}" if commands else ""
