"""The commands of the README are found, in order and whole; the wheels of a lock file are those that a Python takes."""

from __future__ import annotations

import pytest

from tests.testbed import readme
from tests.testbed.bench.wheelhouse import LOCK, locked_for

TEXT = """\
# Title
## One
1. Do this,
   and that.

        make this
        make that

2. Read only.

10. Last:

        ssh robot one
## Two
        not a command of One
"""


def test_steps_have_their_commands_in_order() -> None:
    found = readme.steps(readme.section("One", TEXT))

    assert found == [
        readme.Step(1, ("make this", "make that")),
        readme.Step(2, ()),
        readme.Step(10, ("ssh robot one",)),
    ]


def test_a_section_that_is_not_there_is_named() -> None:
    with pytest.raises(AssertionError, match="no section 'Three'"):
        readme.section("Three", TEXT)


def test_every_step_of_the_readme_that_is_not_editing_has_commands() -> None:
    found = readme.steps(readme.section("Put it on your robots"))

    assert [step.number for step in found] == list(range(1, len(found) + 1))
    assert [step.number for step in found if not step.commands] == [3]


@pytest.mark.parametrize(("python", "numpy"), [("3.10", "numpy==2.2"), ("3.11", "numpy==2.4"), ("3.13", "numpy==2.5")])
def test_a_python_takes_its_own_entries_of_the_lock_with_their_digests(python: str, numpy: str) -> None:
    entries = locked_for(LOCK.read_text(), python).splitlines()

    assert next(entry for entry in entries if entry.startswith("numpy==")).startswith(numpy)
    assert len({entry.partition("==")[0] for entry in entries}) == len(entries)
    assert all("--hash=sha256:" in entry and ";" not in entry for entry in entries)
