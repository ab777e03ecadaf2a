"""Where the actions come out of a model's graphs: which tensor, and which of its rows and columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from model_registry.core.contract.cameras import NUMBERS, TensorType
from model_registry.core.documents import Reader, as_integer
from model_registry.core.errors import UsageError


@dataclass(frozen=True)
class ActionOutput:
    """Where the actions come out: `source` is `<graph>.<tensor>`, or `x` of the loop.

    Its last axis are columns, all before it rows, one row a step. Rows from `first` on are the actions, `columns` their
    dimensions in order. `advisory` is a name and a column for a score of 0..1, 1 is safe: a metric, never a guard.
    """

    source: str
    first: int
    columns: tuple[int, ...]
    advisory: tuple[str, int] | None = None

    @classmethod
    def read(cls, reader: Reader, dims: int) -> ActionOutput:
        columns = reader.items("columns", as_integer) if reader.has("columns") else tuple(range(dims))
        advisory = None
        if reader.has("advisory"):
            score = reader.child("advisory")
            advisory = (score.text("name"), score.integer("column"))
        first = reader.integer("first") if reader.has("first") else 0
        return cls(reader.text("from"), first, columns, advisory)

    def check(self, path: str, known: Mapping[str, TensorType], dims: int, horizon: int) -> None:
        """Raises UsageError where its tensor is not there, or does not hold what the actions need."""
        tensor = known.get(self.source)
        if tensor is None:
            raise UsageError(
                f"{path}.from: nothing is called {self.source!r}; there are {', '.join(sorted(known)) or 'no tensors'}"
            )
        if tensor.dtype not in NUMBERS or not tensor.shape:
            raise UsageError(
                f"{path}.from: {self.source} is {tensor.dtype} {list(tensor.shape)}, and no rows of numbers; name a "
                "tensor of float32 or float16 with at least one axis"
            )
        rows, width = math.prod(tensor.shape[:-1]), tensor.shape[-1]
        if len(self.columns) != dims or len(set(self.columns)) != dims:
            raise UsageError(f"{path}.columns: {list(self.columns)} must name one column for each of {dims} dimensions")
        used = self.columns
        if self.advisory is not None:
            used = (*used, self.advisory[1])
            if self.advisory[1] in self.columns:
                raise UsageError(f"{path}.advisory: column {self.advisory[1]} is an action's; name another one")
        if bad := [column for column in used if not 0 <= column < width]:
            raise UsageError(f"{path}.columns: {bad[0]} is no column of {self.source}, which has {width}")
        if rows < self.first + horizon:
            raise UsageError(
                f"{path}: {self.source} {list(tensor.shape)} has {rows} rows; a horizon of {horizon} actions from row "
                f"{self.first} on needs {self.first + horizon}"
            )
