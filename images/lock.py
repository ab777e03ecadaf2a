"""`lock.json`: what each row and arch is made of, byte for byte.

`images.resolve` writes it; everything that builds reads it.

It holds the base's digest, the exact version of every package and the sha256 of every wheel (and of every .deb on top
of an Ubuntu base). It does not hold: Debian's packages by hash (apt checks them against the archive's signature; a
mirror drops old versions, and `lock-check` tells), the builder (Docker, mmdebstrap, pip), the host's kernel and GPU
driver, and models, which have digests of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, parse
from model_registry.core.errors import NotFoundError, UsageError
from model_registry.core.files import Files

PATH = Path(__file__).with_name("lock.json")
UNCOVERED = (
    "The lock does not cover: Debian's .deb files by hash (apt's signatures do), Docker, mmdebstrap, pip, kernel, "
    "GPU driver."
)


@dataclass(frozen=True)
class Wheel:
    """One Python wheel of the wheelhouse."""

    file: str
    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Deb:
    """One package file that is unpacked over an Ubuntu base."""

    file: str
    url: str
    sha256: str


@dataclass(frozen=True)
class LockEntry:
    """One row and arch.

    `base` and `base_digest` are empty for a root filesystem made from `packages` (name → version).
    """

    base: str
    base_digest: str
    packages: dict[str, str]
    debs: tuple[Deb, ...]
    wheels: tuple[Wheel, ...]


@dataclass(frozen=True)
class Lock:
    """All entries by "row/arch"."""

    entries: dict[str, LockEntry]

    def entry(self, row: str, arch: str) -> LockEntry:
        """Raises NotFoundError with the command that locks it."""
        if (entry := self.entries.get(f"{row}/{arch}")) is None:
            raise NotFoundError(
                f"{row}/{arch} has no entry in images/lock.json: run `make lock PLATFORM={row} ARCH={arch}` "
                "on a machine that reaches its registries, and commit the file"
            )
        return entry

    def with_entry(self, row: str, arch: str, entry: LockEntry) -> Lock:
        return replace(self, entries=self.entries | {f"{row}/{arch}": entry})


def load(path: Path = PATH) -> Lock:
    """Raises UsageError for anything that is not an exact lock."""
    reader = Reader(parse(path.read_bytes(), path.name), path.name)
    reader.schema()
    lock = Lock(reader.table("entries", _entry))
    reader.done()
    return lock


def save(lock: Lock, path: Path = PATH) -> None:
    """Write the lock for people to review: sorted, one wheel or package a line."""
    entries = {key: asdict(entry) for key, entry in sorted(lock.entries.items())}
    Files().write(path, (_lines({"schema": 1, "entries": entries}) + "\n").encode())


def _lines(value: object, indent: str = "") -> str:
    """JSON with a line for each item of objects and lists that hold more than text."""
    inner = indent + " "
    if isinstance(value, Mapping) and (len(value) > 4 or not all(isinstance(item, str) for item in value.values())):
        body = (f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(body) + f"\n{indent}}}"
    if isinstance(value, tuple | list) and value:
        return "[\n" + ",\n".join(f"{inner}{_lines(item, inner)}" for item in value) + f"\n{indent}]"
    return json.dumps(value)


def _entry(value: object, path: str) -> LockEntry:
    reader = Reader(value, path)
    entry = LockEntry(
        base=reader.text("base"),
        base_digest=reader.text("base_digest"),
        packages=reader.table("packages", as_text),
        debs=reader.objects("debs", lambda item: Deb(_file(item), item.text("url"), _sha256(item))),
        wheels=reader.objects(
            "wheels", lambda item: Wheel(_file(item), item.text("name"), item.text("version"), _sha256(item))
        ),
    )
    reader.done()
    if bool(entry.base) != bool(entry.base_digest):
        raise UsageError(f"{path}: base and base_digest belong together; run `make lock` again")
    if entry.base:
        Digest.parse(entry.base_digest, f"{path}.base_digest")
    return entry


def _sha256(reader: Reader) -> str:
    return Digest.parse("sha256:" + reader.text("sha256"), f"{reader.path}.sha256").hex


def _file(reader: Reader) -> str:
    name = reader.text("file")
    if Path(name).name != name or name.startswith("."):
        raise UsageError(f"{reader.path}.file: expected the name of a file, got {name!r}")
    return name
