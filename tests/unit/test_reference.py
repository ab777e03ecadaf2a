"""docs/commands.md is what the parsers say now."""

from __future__ import annotations

from tests.testbed import reference


def test_the_command_reference_is_up_to_date() -> None:
    found = reference.PAGE.read_text()
    assert found == reference.page(), "run python -m tests.testbed.reference, and commit docs/commands.md"


def test_every_goal_of_make_and_every_program_is_in_it() -> None:
    found = reference.PAGE.read_text()
    for wanted in ("- `make demo`:", "### homeport release create", "### homeport-agent rollback", "`--dry-run`"):
        assert wanted in found
