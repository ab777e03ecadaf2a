"""Values of an inventory as TOML, whatever characters they hold.

JSON is no way to write it: its pairs of surrogates are not TOML.

`homeport_toml` writes a value, `homeport_toml_key` the name of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

_BARE = re.compile(r"[A-Za-z0-9_-]+")
# Control characters, DEL, and what a string would end or continue with.
_ESCAPED = re.compile(r'[\x00-\x1f\x7f"\\]')
_SURROGATE = re.compile("[\ud800-\udfff]")


def text(value: str) -> str:
    """A basic string. Raises AnsibleFilterError for half of a surrogate pair, which is no character."""
    if found := _SURROGATE.search(value):
        raise AnsibleFilterError(f"{value!r}: {found[0]!r} is no character; write the text anew in the inventory")
    return f'"{_ESCAPED.sub(lambda each: f"{chr(92)}u{ord(each[0]):04x}", value)}"'


def key(value: object) -> str:
    """The name of a value, quoted where it has to be."""
    return name if _BARE.fullmatch(name := str(value)) else text(name)


def toml(value: object) -> str:
    """A value on one line: text, number, truth, list or table. Raises AnsibleFilterError for what TOML cannot say."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, Mapping):
        pairs = (f"{key(name)} = {toml(inner)}" for name, inner in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml(inner) for inner in value)}]"
    raise AnsibleFilterError(
        f"{value!r}: expected text, a number, true or false, a list or a table; put text in quotes"
    )


class FilterModule:
    """What the templates see."""

    def filters(self) -> dict[str, Any]:
        return {"homeport_toml": toml, "homeport_toml_key": key}
