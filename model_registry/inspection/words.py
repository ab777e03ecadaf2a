"""The tokenizer loads as the robot loads it, and the normalisation names every dimension of an action."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import UsageError
from model_registry.core.reasons import reason
from model_registry.inspection.findings import Findings

_PATIENCE_S = 120
# In a process of its own: a damaged file can end the library, and it raises nothing more special than Exception.
_LOAD = "import sys; from tokenizers import Tokenizer; Tokenizer.from_file(sys.argv[1]).encode('go')"


def load_command(path: Path) -> list[str]:
    """The command that loads a tokenizer file and makes tokens of a word with it."""
    return [sys.executable, "-c", _LOAD, str(path.absolute())]


def check_tokenizer(folder: Path, contract: Contract, pointers: frozenset[str], findings: Findings) -> None:
    """Refuse a tokenizer file that the library `tokenizers` cannot load."""
    path = contract.tokenizer
    if path in pointers:
        return
    try:
        done = subprocess.run(
            load_command(folder / path), capture_output=True, text=True, timeout=_PATIENCE_S, cwd=os.sep, check=False
        )
        said = None if done.returncode == 0 else (done.stderr.strip() or f"it ended with {done.returncode}")
    except subprocess.TimeoutExpired:
        said = f"it took more than {_PATIENCE_S} s"
    if said is not None:
        findings.refuse(
            path,
            f"is not a tokenizer that loads ({reason(said.splitlines()[-1])}); save it again with "
            "Tokenizer.save of the library tokenizers",
        )


def check_normalization(folder: Path, contract: Contract, pointers: frozenset[str], findings: Findings) -> None:
    """Refuse a normalisation without a finite mean and a spread for each dimension of an action."""
    path = contract.normalization
    if path in pointers:
        return
    try:
        reader = Reader(parse((folder / path).read_bytes(), path), path)
        action = reader.child("action")
        for dim in contract.dims:
            row = action.child(dim.name)
            row.number("mean")
            row.number("std", 0.0)
        reader.done()
    except UsageError as error:
        findings.refuse(
            path, f"is not a normalisation of this model's actions ({reason(error)}); write mean and std of each"
        )
