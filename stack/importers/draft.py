"""A drafted contract: the tables of a vla.toml, and the file of statistics that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stack.importers.graph_part import MARK
from stack.importers.toml_text import TomlTable, text


@dataclass(frozen=True)
class ContractDraft:
    """`graphs` stands last; `exported`: below a mark, so that an export can write it anew. `statistics`: None for no
    file.
    """

    head: TomlTable
    observation: Sequence[TomlTable]
    action: TomlTable
    graphs: Sequence[TomlTable]
    statistics: bytes | None = None
    exported: bool = False

    def toml(self, about: Sequence[str]) -> str:
        """The text of vla.toml, with `about` as comments at its top."""
        comments = "".join(f"# {line}\n" for line in about)
        above = text([self.head, *self.observation, self.action])
        mark = f"{MARK}\n\n" if self.exported else ""
        return f"{comments}\n{above}\n{mark}{text(self.graphs)}"
