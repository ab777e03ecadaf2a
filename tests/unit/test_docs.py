"""What the documents say of the programs is true of them: quoted messages, verbs and links."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from stack.agent.cli.parser import parser

ROOT = Path(__file__).parents[2]
DOCS = sorted([*ROOT.glob("docs/*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/README.md"))])
SPOKEN = (
    "stack/agent/**/*.py",
    "stack/policy/*.py",
    "stack/supervisor/*.py",
    "stack/agent/shell/*.sh",
    "model_registry/core/*.py",
    "model_registry/sources/http.py",
    "ansible/roles/device/**/*.yml",
    "ansible/plugins/filter/*.py",
)


def verbs() -> set[str]:
    [found] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return set(found.choices)


def text_of(path: Path) -> str:
    """A source with one blank for any space between words, and each string that stands in two pieces as one."""
    return re.sub(r"\s+", " ", re.sub(r'"\s+f?"', "", path.read_text()))


def test_every_message_in_troubleshooting_is_one_of_ours() -> None:
    sources = " ".join(text_of(path) for glob in SPOKEN for path in ROOT.glob(glob))
    rows = [line for line in (ROOT / "docs/troubleshooting.md").read_text().splitlines() if line.startswith("| `")]
    quoted = [re.findall(r"`([^`]+)`", row.split(" | ")[0])[0] for row in rows]

    assert len(quoted) > 30
    assert [words for words in quoted if words not in sources] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_the_agent_are_verbs_that_it_has(path: Path) -> None:
    named = set(re.findall(r"(?:`|^    )homeport-agent ([a-z-]+)", path.read_text(), re.MULTILINE))

    assert named <= verbs()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        name, _, heading = target.partition("#")
        if "://" in name:
            continue
        file = path.parent / name if name else path
        assert file.exists(), target
        headings = (
            [line.lstrip("# ").strip() for line in file.read_text().splitlines() if line.startswith("#")]
            if heading
            else []
        )
        slugs = [re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-") for each in headings]
        assert not heading or heading in slugs, target
