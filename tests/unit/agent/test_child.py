"""What is told of a program that failed: its last words, and not the hint behind them."""

from __future__ import annotations

import threading

import pytest

from model_registry.core.errors import HomeportError
from stack.agent.machine.child import Program, ask, pieces, run

HINT = "See 'docker run --help'."
DEAD = f"echo first >&2; echo 'Cannot connect to the Docker daemon.' >&2; echo >&2; echo \"{HINT}\" >&2; exit 125"


def test_a_short_program_ends_with_what_it_said_and_not_with_its_hint() -> None:
    with pytest.raises(HomeportError, match=r"^sh -c: Cannot connect to the Docker daemon\.$"):
        ask("sh", "-c", DEAD)
    with pytest.raises(HomeportError, match=r"^sh -c: Cannot connect to the Docker daemon\.$"):
        list(pieces("sh", "-c", DEAD))


def test_a_program_without_words_ends_with_its_exit_code() -> None:
    with pytest.raises(HomeportError, match=r"^sh -c: exit 3$"):
        ask("sh", "-c", "echo >&2; exit 3")


@pytest.mark.parametrize(
    ("script", "words"),
    [(DEAD, "Cannot connect to the Docker daemon."), ("echo error: no room >&2; echo later >&2; exit 1", "no room")],
)
def test_a_tool_ends_with_its_error_or_its_last_words(script: str, words: str) -> None:
    heard: list[str] = []
    done = run(Program(("sh", "-c", script), {"PATH": "/usr/bin:/bin"}), heard.append, threading.Event())
    assert done.code != 0 and done.error == words
