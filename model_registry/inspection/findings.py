"""What an inspection has found so far: everything that is wrong, and what packing will change by itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """`refusals`: one sentence each that names the file and ends with what to do; `notes`: one sentence a change.

    `prefix` stands before every path: the folder of a variant, which shares the lists of its model.
    """

    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prefix: str = ""

    def refuse(self, path: str, sentence: str) -> None:
        """Say what is wrong with the file `path`, and what to do."""
        self.refusals.append(f"{self.prefix}{path}: {sentence}")

    def note(self, path: str, sentence: str) -> None:
        """Say what packing changes in the file `path`."""
        self.notes.append(f"{self.prefix}{path}: {sentence}")
