"""What the documents say of the programs is true of them: quoted messages, verbs and links."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.agent.cli.parser import parser

ROOT = Path(__file__).parents[2]
DOCS = sorted([*ROOT.glob("docs/*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/README.md"))])
PLACES = ("*.md", "docs/**/*.md", "images/*.md", "ansible/**/*.md", "stack/models/*.md", "tests/*.md")
"""Where people read; what a signed model carries keeps its bytes."""
PROSE = sorted(path for place in PLACES for path in ROOT.glob(place) if not path.is_symlink())
COLUMNS = 120
COMMAND = re.compile(r" {4,}(?:make|ssh|\.venv/bin/\w+) ")
SPOKEN = (
    "stack/agent/**/*.py",
    "stack/policy/*.py",
    "stack/supervisor/*.py",
    "stack/agent/shell/*.sh",
    "stack/engine/onnx_torch/*.py",
    "model_registry/core/*.py",
    "model_registry/inspection/*.py",
    "model_registry/sources/*.py",
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
    quoted = re.findall(r"^- `([^`]+)`", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)

    assert len(quoted) > 30
    assert [words for words in quoted if words not in sources] == []


def too_long(path: Path) -> Iterator[int]:
    """Numbers of the lines that a reader has to scroll for.

    A link, a name or a command that begins its line is not split. A block stays wide where the line before it says
    why: `<!-- wide: … -->`.
    """
    wide = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        wide = line.startswith("<!-- wide: ") or (wide and bool(line))
        whole = re.fullmatch(r"\s*(?:[-*] )?(?:!?\[[^]]*\]\(\S+\)|\S+)", line) or COMMAND.match(line)
        if len(line) > COLUMNS and not (wide or whole):
            yield number


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_is_longer_than_a_screen_is_wide(path: Path) -> None:
    assert list(too_long(path)) == [], "one sentence a line, wrapped at about 100; turn a wide table into a list"


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


def test_the_glossary_is_in_order_and_says_a_word_once() -> None:
    words = re.findall(r"^- \*\*([^*]+)\*\*: ", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)

    assert len(words) > 60
    assert words == sorted(set(words))


def test_every_page_is_on_the_map() -> None:
    text = (ROOT / "docs/README.md").read_text()
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}

    assert [name for name in sorted(pages) if f"]({name})" not in text] == []
