"""What differs between two models: fields of their contracts, statistics, and files by digest and size.

Items of a list that have a name, an id or a path are compared by it, so that a dimension which was put in front changes
no other one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from model_registry.core.contract import FILE_NAME
from model_registry.core.digest import Digest
from model_registry.reading import FoundModel, contract_file

_LABELS = ("name", "id", "path")


@dataclass(frozen=True)
class Difference:
    """One thing that differs, as JSON has it; None stands for what is not there."""

    where: str
    before: object
    after: object

    @property
    def text(self) -> str:
        """On one line: + is new, - is gone."""
        if self.before is None:
            return f"+ {self.where}: {_shown(self.after)}"
        if self.after is None:
            return f"- {self.where}: {_shown(self.before)}"
        return f"{self.where}: {_shown(self.before)} -> {_shown(self.after)}"


def compare(before: FoundModel, after: FoundModel) -> dict[str, list[Difference]]:
    """The differences in `contract`, `statistics` and `files`."""
    contracts = [_contract(model) for model in (before, after)]
    statistics = [_statistics(model) for model in (before, after)]
    files = [{path: _file(model, path) for path in model.files if path != FILE_NAME} for model in (before, after)]
    return {
        "contract": list(_differences(*contracts)),
        "statistics": list(_differences(*statistics)),
        "files": list(_differences(*files)),
    }


def _contract(model: FoundModel) -> dict[str, object]:
    document = json.loads(contract_file(model))
    del document["files"]
    return dict(_flat(document, ""))


def _statistics(model: FoundModel) -> dict[str, object]:
    path = model.contract.statistics
    return {} if path is None else dict(_flat(json.loads(model.read(path)), ""))


def _file(model: FoundModel, path: str) -> dict[str, object]:
    digest, size = model.files[path]
    return {"digest": str(digest), "bytes": size}


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Difference]:
    for where in sorted(before.keys() | after.keys()):
        old = before.get(where)
        new = after.get(where)
        if old != new:
            yield Difference(where, old, new)


def _flat(value: object, where: str) -> Iterator[tuple[str, object]]:
    """Every value that is compared as a whole, with the keys that lead there."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _flat(child, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list) and value and all(isinstance(child, Mapping) for child in value):
        for label, child in zip(_labels(value), value, strict=True):
            yield from _flat(child, f"{where}[{label}]")
    else:
        yield where, value


def _labels(items: Sequence[Mapping[str, object]]) -> list[str]:
    for key in _LABELS:
        labels = [str(item.get(key, "")) for item in items]
        if all(labels) and len(set(labels)) == len(labels):
            return labels
    return [str(index) for index in range(len(items))]


def _shown(value: object) -> str:
    if isinstance(value, Mapping) and value.keys() == {"digest", "bytes"}:
        return f"{value['bytes']:,} bytes, {Digest.parse(value['digest']).short}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
