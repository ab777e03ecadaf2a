"""The tokenizer loads as the robot loads it, and statistics are there for every number that is normalised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.contract.observation import STATISTICS
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
    text = contract.observation.text
    if text is None or text.tokenizer in pointers:
        return
    path = text.tokenizer
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


def check_statistics(folder: Path, contract: Contract, pointers: frozenset[str], findings: Findings) -> None:
    """Refuse statistics that lack a number which is normalised, or in which one is not finite."""
    path = contract.statistics
    if path is None or path in pointers:
        return
    state = contract.observation.state
    parts = [("action", contract.action.normalise, contract.action.names)]
    if state is not None:
        parts.append(("state", state.normalise, state.keys))
    try:
        reader = Reader(parse((folder / path).read_bytes(), path), path)
        for part, kind, names in parts:
            if kind == "none":
                continue
            rows = reader.child(part)
            for name in names:
                _check_row(rows.child(name), kind)
    except UsageError as error:
        findings.refuse(
            path, f"lacks statistics of what this model normalises ({reason(error)}); write them for each number"
        )


def _check_row(row: Reader, kind: str) -> None:
    low, high = (row.number(key) for key in STATISTICS[kind])
    if kind == "mean_std" and high < 0.0:
        raise UsageError(f"{row.path}.std: {high} is below 0")
    if kind != "mean_std" and high < low:
        raise UsageError(f"{row.path}: {STATISTICS[kind][1]} {high} is below {STATISTICS[kind][0]} {low}")
