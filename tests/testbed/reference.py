"""The command reference, docs/commands.md, from the parsers themselves: `python -m tests.testbed.reference`.

A test compares the file with what this makes, so that nobody has to remember to write it again.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from stack.agent.cli.parser import parser
from stack.cli import build

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs/commands.md"
WIDTH = 100
INTRODUCTION = """# Commands

Every command, option and default, made from the programs themselves by `python -m tests.testbed.reference`.
`--help` after any of them prints the same, with examples.
`--json`, where a command has it, prints the result as one JSON document; progress goes to stderr.
"""
ON_THE_ROBOT = (
    "On the robot. Every command takes `--root`, a robot's folder instead of /var/lib/homeport, and `--json`."
)
GOAL = re.compile(r"^([a-z-]+):.*## (.*)$", re.MULTILINE)
_HIDDEN = {"--help", "--install-completion", "--show-completion", "--json"}
_EVERYWHERE = {"help", "root", "json"}
"""Options of every command of the agent."""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## make\n", "In the checkout.\n", *goals()]
    parts += ["## homeport\n", "On the publisher's and the controller's machine.\n", *homeport()]
    parts += ["## homeport-agent\n", f"{ON_THE_ROBOT}\n", *agent()]
    return "\n".join(parts).rstrip() + "\n"


def goals() -> Iterator[str]:
    """`make help` as a list."""
    for name, text in GOAL.findall((TOP / "Makefile").read_text()):
        yield entry(f"make {name}", text)
    yield ""


def homeport() -> Iterator[str]:
    """Every verb of `homeport`."""
    yield from _typer(typer.main.get_command(build([])), ())


def _typer(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _typer(inner, (*path, name))
        return
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([*path, *(_argument(each) for each in arguments)])
    yield f"### homeport {usage}\n"
    yield f"{first_paragraph(command.help)}\n"
    rows = [(", ".join(each.opts), _typer_help(each)) for each in command.params if _is_shown(each)]
    yield from options(rows)


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _is_shown(parameter: Any) -> bool:
    hidden = getattr(parameter, "hidden", False) or _HIDDEN & set(parameter.opts)
    return parameter.param_type_name == "option" and not hidden


def _typer_help(option: Any) -> str:
    if option.required:
        return sentences(option.help, "Required.")
    shown = option.default not in (None, False, (), []) and not callable(option.default)
    return sentences(option.help, f"Default: {option.default}." if shown else "")


def agent() -> Iterator[str]:
    """Every verb of `homeport-agent`."""
    top = parser()
    [verbs] = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    for name, verb in verbs.choices.items():
        positional = [action for action in verb._actions if not action.option_strings]
        usage = " ".join([name, *(_metavar(action) for action in positional)])
        yield f"### homeport-agent {usage}\n"
        yield f"{first_paragraph(verb.description)}\n"
        given = [action for action in verb._actions if action.option_strings and action.dest not in _EVERYWHERE]
        yield from options([(", ".join(action.option_strings), _argparse_help(action)) for action in given])


def _metavar(action: argparse.Action) -> str:
    name = f"{{{','.join(action.choices)}}}" if action.choices else action.dest.upper()
    return f"[{name}]" if action.nargs == "?" else name


def _argparse_help(action: argparse.Action) -> str:
    choices = f"One of {', '.join(action.choices)}." if action.choices else ""
    shown = action.default not in (None, argparse.SUPPRESS, False, ())
    return sentences(action.help, choices, f"Default: {action.default}." if shown else "")


def options(rows: list[tuple[str, str]]) -> Iterator[str]:
    """A list of options; nothing where there are none."""
    if rows:
        yield from (entry(name, text) for name, text in rows)
        yield ""


def first_paragraph(text: str | None) -> str:
    """What a command does, on one line."""
    sentence = sentences((text or "").split("\n\n")[0])
    return sentence[:1].upper() + sentence[1:]


def sentences(*parts: str | None) -> str:
    """Each part as a sentence of its own, on one line."""
    told = [" ".join((part or "").split()) for part in parts]
    return " ".join(f"{text.rstrip('.')}." for text in told if text)


def entry(name: str, text: str) -> str:
    """What a command or an option does, as an entry of a list."""
    words = f"- `{name}`: {' '.join(text.split())}"
    return textwrap.fill(words, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
