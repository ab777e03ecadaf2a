"""norm_stats.json from the rows of numbers that a checkpoint or a dataset keeps: see stack/engine/statistics.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from model_registry.authoring import UNKNOWN
from model_registry.core.contract.observation import PARTS
from stack.importers.hints import Numbers

KINDS = ("mean", "std", "min", "max", "q01", "q99")
"""What normalisations take."""


def norm_stats(actions: Mapping[str, Mapping[str, float]], states: Mapping[str, Mapping[str, float]]) -> bytes:
    """The file, from rows by the name of each dimension and of each number of the state."""
    parts = {"action": dict(actions), "state": dict(states)}
    document = {part: rows for part, rows in parts.items() if rows}
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def rows_of(names: Sequence[str], numbers: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """One row for each name; nothing where there are not as many numbers as names."""
    kinds = [kind for kind in KINDS if len(numbers.get(kind, ())) == len(names)]
    if not names or not kinds:
        return {}
    return {name: {kind: float(numbers[kind][index]) for kind in kinds} for index, name in enumerate(names)}


def state_rows(names: Sequence[str], of: str, numbers: Numbers) -> dict[str, dict[str, float]]:
    """The same for a state, whose numbers are listed with what they are of; under each of these while it is unknown."""
    kinds = PARTS if of == UNKNOWN else (of,)
    rows = rows_of(names, numbers)
    return {f"{kind}.{name}": row for kind in kinds for name, row in rows.items()}
