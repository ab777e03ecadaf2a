"""Foreign text as it may stand in a message, on a terminal or in a log.

A key of a document, an answer of a registry, the name of a file or the text of an exception can hold characters that
nobody sees: some move the cursor, change colours, turn the order of letters around, or begin a line that looks like one
of ours. Here each of them becomes an escape as Python writes it (`\\x1b`, `\\n`, `\\u202e`); letters of every script
stay as they are. What is escaped already stays as it is, so a text may pass here more than once.

    visible(text)            one line: for messages, cells of tables, lines of logs
    visible_lines(text)      line feeds stay: for a whole page that was put together from such lines
    visible_values(value)    every key and text of a JSON value
    visible_json(value)      JSON that any reader takes for the same value

Ansible's modules and filters use this file as well (ansible/plugins/module_utils/visible.py is a link to it), so it
imports nothing of ours.
"""

from __future__ import annotations

import json
import re

# Letters and marks without width or ink, which Python counts as printable: joiners, fillers, variation selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: object) -> str:
    """`text` on one line, with every character that cannot be seen as an escape."""
    given = str(text)
    if given.isprintable() and (given.isascii() or not _UNSEEN.search(given)):
        return given
    return "".join(map(_shown, given))


def _shown(character: str) -> str:
    if character.isprintable() and not _UNSEEN.match(character):
        return character
    return character.encode("unicode_escape").decode()


def visible_lines(text: object) -> str:
    """The same line by line: line feeds stay."""
    return "\n".join(map(visible, str(text).split("\n")))


def visible_values(value: object) -> object:
    """A JSON value in which every key and every text is visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible_values(key): visible_values(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible_values(inner) for inner in value]
    return value


def visible_json(value: object, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """`value` as JSON in ASCII. DEL is the only unseen character of it that json.dumps leaves as it is."""
    text = json.dumps(value, sort_keys=True, indent=indent, separators=separators)
    return text.replace("\x7f", "\\u007f")
