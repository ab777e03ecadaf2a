"""The parser of README's commands, and that the bench `newcomer` knows every one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import newcomer
from tests.testbed.readme import Command, commands

README = (Path(__file__).parents[3] / "README.md").read_text()
DOCUMENT = """# Title

    make demo

Text with `make demo KEEP=1`, a file `make.txt`, and `homeport`.

## Steps
It prints lines like these:

    This machine: 2 cores
      19.1 s  make demo goes on

1. First:

        .venv/bin/homeport init fleet ~/fleet
        ssh bay-1 sudo homeport-agent arm

`make demo KEEP=1` twice, `make demo KEEP=1`.
"""


def test_commands_are_told_from_what_is_printed_and_have_their_section() -> None:
    assert commands(DOCUMENT) == [
        Command("Title", "make demo"),
        Command("Title", "make demo KEEP=1"),
        Command("Steps", ".venv/bin/homeport init fleet ~/fleet"),
        Command("Steps", "ssh bay-1 sudo homeport-agent arm"),
        Command("Steps", "make demo KEEP=1"),
    ]


def test_the_newcomer_types_every_command_of_the_readme_that_needs_no_robot() -> None:
    lines = newcomer.lines_of(README)

    assert lines[:2] == ["make demo", "make test"]
    for line in lines:
        assert newcomer.promise_of(line).begins
    for promise in newcomer.PROMISES:
        assert promise in [newcomer.promise_of(line) for line in lines], f"README has no '{promise.begins}' any more"


def test_a_command_that_nobody_has_told_the_bench_about_fails_it() -> None:
    with pytest.raises(AssertionError, match="README says 'make coffee'"):
        newcomer.promise_of("make coffee")


def test_blocks_that_failed_are_named_with_their_last_lines() -> None:
    good = {"line": "make demo", "minutes": 3.0, "failed": ""}
    bad = {"line": "make dist", "minutes": 0.1, "failed": "ended with 2\nno wheel"}

    found = newcomer.figures({"Debian 12 as root": [good, bad], "Debian 13 as root": [good]})

    assert (found["systems"], found["blocks"], found["passed"]) == (2, 3, 2)
    assert found["failed"] == ["Debian 12 as root: make dist: ended with 2\nno wheel"]
    assert found["minutes"] == {
        "Debian 12 as root": {"make demo": 3.0, "make dist": 0.1},
        "Debian 13 as root": {"make demo": 3.0},
    }
