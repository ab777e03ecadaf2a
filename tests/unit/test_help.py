"""Every program and every verb ends its help with examples that it takes itself, and tells its version."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from model_registry.core.errors import UsageError
from model_registry.core.version import version
from stack.agent.cli.parser import parser
from stack.cli import build

HOMEPORT = typer.main.get_command(build([]))
AGENT = parser()


def commands(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Every group and verb of `homeport`, by the words that lead to it."""
    yield path
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)


def find(path: tuple[str, ...]) -> Any:
    found: Any = HOMEPORT
    for word in path:
        assert isinstance(found, TyperGroup)
        found = found.commands[word]
    return found


def verbs() -> dict[str, argparse.ArgumentParser]:
    [found] = [action for action in AGENT._actions if isinstance(action, argparse._SubParsersAction)]
    return {"": AGENT, **found.choices}


def examples(text: str) -> list[list[str]]:
    """The command lines at the end of a help text, as a shell would cut them."""
    lines = text.partition("Example")[2].splitlines()[1:]
    return [shlex.split(line.partition(" > ")[0]) for line in lines if line.startswith("  ")]


def parse(words: list[str], path: tuple[str, ...]) -> None:
    """Let `homeport` parse a line, down to the verb, without doing it."""
    command: Any = HOMEPORT
    assert tuple(words[: len(path)]) == path
    while isinstance(command, TyperGroup):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("homeport", list(words))


@pytest.mark.parametrize("path", list(commands(HOMEPORT)), ids=lambda path: " ".join(path) or "homeport")
def test_every_verb_of_homeport_ends_its_help_with_examples_that_it_takes(path: tuple[str, ...]) -> None:
    command = find(path)
    found = examples(command.get_help(typer.Context(command)))

    assert found, "give the command epilog=click_epilog(…)"
    for program, *words in found:
        assert program == "homeport"
        parse(words, path)


@pytest.mark.parametrize("verb", verbs(), ids=lambda verb: verb or "homeport-agent")
def test_every_verb_of_the_agent_ends_its_help_with_examples_that_it_takes(verb: str) -> None:
    found = examples(verbs()[verb].format_help())

    assert found
    for program, *words in found:
        assert program == "homeport-agent" and verb in ("", *words)
        AGENT.parse_args(words)


def test_an_example_that_the_parser_does_not_take_is_noticed() -> None:
    with pytest.raises(TyperException):
        parse(["model", "pack", "--nowhere"], ("model", "pack"))
    with pytest.raises(UsageError):
        AGENT.parse_args(["stage"])


@pytest.mark.parametrize("module", ["stack.cli", "model_registry.cli", "stack.agent"])
def test_every_program_tells_its_version(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, version(), "")
