"""Model folders as a person writes them: the contract in vla.toml, without digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COMMENT = "# What this model takes, and what it gives.\n"


def author(folder: Path, **changes: Any) -> Path:
    """Put a vla.toml in the place of a folder's vla.json; returns the folder. A change to None removes a key."""
    document = json.loads((folder / "vla.json").read_bytes())
    (folder / "vla.json").unlink()
    del document["files"]
    write_toml(folder, {key: value for key, value in (document | changes).items() if value is not None})
    return folder


def write_toml(folder: Path, document: dict[str, Any]) -> None:
    """Write vla.toml, one line a key."""
    lines = [f"{key} = {inline(value)}\n" for key, value in document.items()]
    (folder / "vla.toml").write_text(COMMENT + "".join(lines))


def inline(value: object) -> str:
    """A value as TOML has it on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {inline(child)}" for key, child in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return json.dumps(value)
