"""Strict JSON: one way to write a document, and a reader that refuses what two parsers could read differently.

Write with `dump`, read bytes with `parse`, then take fields through a `Reader`, which rejects unknown keys and wrong
types and names the path (`release.model.digest: expected …`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from math import isfinite
from typing import TypeVar

from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_COST = 30 << 20
"""Bytes that the Python objects of one document may take, as `_check_cost` reckons them.

A manifest of 4 MiB that is made of empty lists would take forty times its size.
"""
_VALUE_COST = 300
"""A short text with the entry of a dictionary that leads to it, which is the dearest value for its length."""
MAX_COUNTER = 1 << 53
"""What counts upwards for good, such as the counter of releases, stays below where every reader of JSON is exact."""

T = TypeVar("T")


def dump(value: object) -> bytes:
    """Canonical bytes: sorted keys, no spaces, UTF-8, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _check(value: object, left: int) -> None:
    """Raises ValueError for what is nested too deep, and for half of a surrogate pair, which no UTF-8 can hold."""
    if left < 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        value.encode()
    children: Iterable[object] = ()
    if isinstance(value, dict):
        children = (*value.keys(), *value.values())
    elif isinstance(value, list):
        children = value
    for child in children:
        _check(child, left - 1)


def _check_cost(text: str, most: int) -> None:
    """Reckon what a document takes as objects: its text once more, and so much for each value and bracket.

    Raises ValueError beyond `most` bytes.
    """
    values = sum(map(text.count, ",[{"))
    if 2 * sys.getsizeof(text) + _VALUE_COST * values > most:
        raise ValueError(f"{values} values in {len(text)} characters are more than are read")


def parse(data: bytes, what: str, max_bytes: int = MAX_BYTES, max_cost: int = MAX_COST) -> object:
    """Read one JSON document of at most `max_bytes`, whose objects take at most about `max_cost` bytes of memory.

    Raises UsageError on duplicate keys, NaN, half characters, too much depth or size, too many values, or anything that
    is not JSON.
    """
    if len(data) > max_bytes:
        raise UsageError(f"{what}: {len(data)} bytes, at most {max_bytes} are read")
    try:
        text = data.decode()
        _check_cost(text, max_cost)
        value: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        _check(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what}: not a valid JSON document ({error})") from error
    return value


class Reader:
    """Takes typed fields out of one JSON object; `done()` refuses what was not asked for."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise UsageError(f"{path}: expected an object, got {type(value).__name__}")
        self._value: dict[str, object] = dict(value)
        self._seen: set[str] = set()
        self._children: list[Reader] = []
        self.path = path

    def _raw(self, key: str) -> object:
        self._seen.add(key)
        if key not in self._value:
            raise UsageError(f"{self.path}.{key}: missing")
        return self._value[key]

    def _typed(self, key: str, kind: type[T], word: str) -> T:
        return _expect(self._raw(key), f"{self.path}.{key}", kind, word)

    def _adopt(self, value: object, path: str) -> Reader:
        self._children.append(Reader(value, path))
        return self._children[-1]

    def has(self, key: str) -> bool:
        """Whether an optional key is there and not null."""
        self._seen.add(key)
        return self._value.get(key) is not None

    def text(self, key: str, allowed: Iterable[str] | None = None) -> str:
        value = self._typed(key, str, "a string")
        if allowed is not None and value not in (choices := sorted(allowed)):
            raise UsageError(f"{self.path}.{key}: expected one of {', '.join(choices)}, got {value!r}")
        return value

    def text_or(self, key: str, default: str, allowed: Iterable[str] | None = None) -> str:
        """A string that may be left out."""
        return self.text(key, allowed) if self.has(key) else default

    def integer(self, key: str, minimum: int = 0, maximum: int | None = None) -> int:
        value = self._typed(key, int, "a whole number")
        if value < minimum:
            raise UsageError(f"{self.path}.{key}: expected at least {minimum}, got {value}")
        if maximum is not None and value > maximum:
            raise UsageError(f"{self.path}.{key}: expected at most {maximum}, got {str(value)[:40]}")
        return value

    def number(self, key: str, minimum: float = float("-inf"), maximum: float = float("inf")) -> float:
        value = as_number(raw := self._raw(key), f"{self.path}.{key}")
        if not minimum <= value <= maximum:
            raise UsageError(f"{self.path}.{key}: expected {minimum} to {maximum}, got {raw}")
        return value

    def number_or(self, key: str, default: float, minimum: float, maximum: float) -> float:
        """A number that may be left out."""
        return self.number(key, minimum, maximum) if self.has(key) else default

    def boolean(self, key: str) -> bool:
        return self._typed(key, bool, "true or false")

    def digest(self, key: str) -> Digest:
        return Digest.parse(self._raw(key), f"{self.path}.{key}")

    def child(self, key: str) -> Reader:
        return self._adopt(self._raw(key), f"{self.path}.{key}")

    def mapping(self, key: str) -> dict[str, object]:
        """An object as it stands, for what another reader checks."""
        return dict(self._typed(key, dict, "an object"))

    def items(self, key: str, convert: Callable[[object, str], T]) -> tuple[T, ...]:
        items = self._typed(key, list, "a list")
        return tuple(convert(item, f"{self.path}.{key}[{index}]") for index, item in enumerate(items))

    def objects(self, key: str, convert: Callable[[Reader], T]) -> tuple[T, ...]:
        """A list of objects; `done()` checks them as well."""
        return self.items(key, lambda item, path: convert(self._adopt(item, path)))

    def texts(self, key: str) -> tuple[str, ...]:
        return self.items(key, as_text)

    def table(self, key: str, convert: Callable[[object, str], T]) -> dict[str, T]:
        """An object whose keys are data."""
        return {name: convert(item, f"{self.path}.{key}.{name}") for name, item in self.mapping(key).items()}

    def names(self) -> tuple[str, ...]:
        """The keys of an object whose keys are data; take each of them with `child` or `text`."""
        return tuple(self._value)

    def schema(self, known: int = 1) -> None:
        """Refuse a document of another schema than `known`, the only one there is. Raises UsageError."""
        schema = self.integer("schema", 1)
        if schema < known:
            raise UsageError(f"{self.path}.schema: {schema} is no longer read, {known} is; write it anew")
        if schema > known:
            raise UsageError(
                f"{self.path}.schema: {schema} is newer than this program knows ({known}); update Homeport here"
            )

    def done(self) -> None:
        """Refuse unknown keys, here and in every child. Raises UsageError."""
        for child in self._children:
            child.done()
        if unknown := sorted(set(self._value) - self._seen):
            raise UsageError(f"{self.path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(self._seen))}")


def _expect(value: object, path: str, kind: type[T], word: str) -> T:
    """`value` when it is a `kind`; True is not a number. Raises UsageError."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{path}: expected {word}, got {value!r}"[:300])
    return value


def as_text(value: object, path: str) -> str:
    return _expect(value, path, str, "a string")


def as_integer(value: object, path: str) -> int:
    return _expect(value, path, int, "a whole number")


def as_number(value: object, path: str) -> float:
    if isinstance(value, float):
        return value
    try:
        return float(_expect(value, path, int, "a number"))
    except OverflowError as error:
        raise UsageError(f"{path}: too large a number") from error


_TAKE: dict[str, Callable[[Reader, str], object]] = {
    "str": Reader.text,
    "int": Reader.integer,
    "float": Reader.number,
    "bool": Reader.boolean,
    "Digest": Reader.digest,
    "tuple[str, ...]": Reader.texts,
}


def fill(kind: Callable[..., T], reader: Reader, **given: object) -> T:
    """A dataclass from the keys named like its fields, read as annotated; `X | None` is optional.

    `given` are the fields that need more.
    """
    values = dict(given)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in given:
            word, _, optional = str(field.type).partition(" | ")
            absent = optional and not reader.has(field.name)
            values[field.name] = None if absent else _TAKE[word](reader, field.name)
    return kind(**values)
