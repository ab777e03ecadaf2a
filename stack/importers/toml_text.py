"""TOML that a person goes on with: tables of keys, each with a comment that says where its value comes from.

    table = TomlTable("action", "what comes out")
    table.add("control_hz", "?", "actions a second; no --dataset was given")
    text([table])

A list of objects is written one object a line; `[[graphs]]` is a table with `many`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100
_DEL = "\x7f"


@dataclass
class TomlTable:
    """One table of a document; `name` is empty for the keys at its top."""

    name: str
    comment: str = ""
    many: bool = False
    keys: list[tuple[str, object, str]] = field(default_factory=list)

    def add(self, key: str, value: object, comment: str = "") -> None:
        """One more key. A value of None leaves a line that is a comment only, or nothing."""
        self.keys.append((key, value, comment))


def text(tables: Iterable[TomlTable]) -> str:
    """The tables as one text, with an empty line between two of them."""
    return "\n".join("".join(f"{line}\n" for line in _lines(table)) for table in tables)


def _lines(table: TomlTable) -> Iterator[str]:
    if table.comment:
        yield from _comment(table.comment)
    if table.name:
        yield f"[[{table.name}]]" if table.many else f"[{table.name}]"
    for key, value, comment in table.keys:
        if value is None:
            yield from _comment(comment)
            continue
        line = f"{name(key)} = {literal(value)}"
        if comment and "\n" not in line and len(line) + len(comment) + 4 <= _WIDTH:
            yield f"{line}  # {comment}"
        else:
            yield from _comment(comment)
            yield line


def _comment(words: str) -> Iterator[str]:
    """Comment lines, broken between words."""
    line = "#"
    for word in words.split():
        if len(line) + len(word) + 1 > _WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    if line != "#":
        yield line


def name(key: str) -> str:
    """A key as it stands in TOML."""
    return key if _BARE.fullmatch(key) else _string(key)


def path(*keys: str) -> str:
    """The name of a table inside of others."""
    return ".".join(map(name, keys))


def literal(value: object) -> str:
    """A value as it stands in TOML."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name(key)} = {literal(child)}" for key, child in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return _list([literal(child) for child in value], any(isinstance(child, Mapping) for child in value))
    return repr(value)


def _list(items: list[str], one_a_line: bool) -> str:
    if one_a_line:
        return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
    line = f"[{', '.join(items)}]"
    if len(line) <= _WIDTH - 20:
        return line
    rows = [""]
    for item in items:
        if len(rows[-1]) + len(item) + 4 > _WIDTH:
            rows.append("")
        rows[-1] += f" {item},"
    return "[\n" + "".join(f" {row}\n" for row in rows) + "]"


def _string(value: str) -> str:
    """A basic string: JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False).replace(_DEL, "\\u007f")
