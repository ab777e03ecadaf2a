"""What an inspection has found so far: everything that is wrong, and what packing will change by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Findings:
    """`refusals`: one sentence each that names the file and ends with what to do; `notes`: one sentence a change.

    `prefix` stands before every path: the folder of a variant, which shares the lists of its model. `documents` are
    the vla.json, by their paths, that stand in the place of those in the folder.
    """

    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    prefix: str = ""
    documents: Mapping[str, bytes] = field(default_factory=dict)

    def refuse(self, path: str, sentence: str) -> None:
        """Say what is wrong with the file `path`, and what to do."""
        self.refusals.append(f"{self.prefix}{path}: {sentence}")

    def note(self, path: str, sentence: str) -> None:
        """Say what packing changes in the file `path`."""
        self.notes.append(f"{self.prefix}{path}: {sentence}")


def together(folder: Path, refusals: Sequence[str]) -> str:
    """One message for everything that is wrong with a folder."""
    if len(refusals) == 1:
        return f"{folder}: {refusals[0]}"
    numbered = " ".join(f"({number}) {text}." for number, text in enumerate(refusals, 1))
    return f"{folder}: {len(refusals)} things to fix before this model can be packed: {numbered}"
