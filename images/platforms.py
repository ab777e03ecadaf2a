"""The rows of `platforms.toml`: what one kind of robot's image is made of, and which L4T releases it fits.

Exact match, or a clear error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_registry.core.documents import Reader, as_integer, as_text
from model_registry.core.errors import IncompatibleError, UsageError
from model_registry.core.release import check_name
from model_registry.core.toml import read_toml

PATH = Path(__file__).with_name("platforms.toml")
ARCHES = ("amd64", "arm64")
_SYSTEMS = {"debian12": "3.11", "ubuntu22.04": "3.10", "ubuntu24.04": "3.12"}
_STATUS = ("supported", "experimental", "ci-only")


@dataclass(frozen=True)
class Row:
    """One row. `packages` are names, `wheels` requirements; their versions and hashes are in the lock."""

    name: str
    arches: tuple[str, ...]
    os: str
    python: str
    ros: str
    ros_from: dict[str, str]  # arch → wheels | apt | none
    l4t: tuple[str, ...]
    cuda: str
    tensorrt: str
    torch: str
    torch_tensorrt: str
    sm: tuple[int, ...]
    base: str  # image reference without digest; "" for a root filesystem made from Debian's packages
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    without: tuple[str, ...]  # distributions that nothing imports at run time
    constraints: dict[str, tuple[str, ...]]  # arch → requirements
    gpu: str
    modules: str
    jetpack: str
    status: str
    built: str
    run: str

    @property
    def debian(self) -> bool:
        """Whether the base is a root filesystem made here from Debian's packages."""
        return not self.base


def _row(value: object, path: str) -> Row:
    reader = Reader(value, path)
    texts = ("cuda", "tensorrt", "torch", "torch_tensorrt", "base", "gpu", "modules", "jetpack", "built", "run")
    lists = ("l4t", "packages", "wheels", "without")
    system = reader.text("os", _SYSTEMS)
    fields: dict[str, Any] = {**{key: reader.text(key) for key in texts}, **{key: reader.texts(key) for key in lists}}
    row = Row(
        name=check_name(path.rpartition(".")[2], path),
        arches=reader.texts("arches"),
        os=system,
        python=reader.text("python", (_SYSTEMS[system],)),
        ros=reader.text("ros", ("jazzy", "humble", "")),
        ros_from=reader.table("ros_from", as_text),
        sm=reader.items("sm", as_integer),
        constraints=reader.table("constraints", lambda item, at: Reader({"of": item}, at).texts("of")),
        status=reader.text("status", _STATUS),
        **fields,
    )
    reader.done()
    _check(row, path)
    return row


def _check(row: Row, path: str) -> None:
    if not row.arches or not set(row.arches) <= set(ARCHES):
        raise UsageError(f"{path}.arches: expected some of {', '.join(ARCHES)}, got {', '.join(row.arches) or 'none'}")
    if set(row.ros_from) != set(row.arches) or not set(row.ros_from.values()) <= {"wheels", "apt", "none"}:
        raise UsageError(f"{path}.ros_from: expected wheels, apt or none for each of {', '.join(row.arches)}")
    if row.debian != (row.os == "debian12"):
        raise UsageError(f"{path}.base: only debian12 is made from packages; an Ubuntu row names its base image")
    if "@" in row.base or row.base.endswith(("latest", ":")) or (row.base and ":" not in row.base):
        raise UsageError(f"{path}.base: expected NAME:TAG with a fixed tag; `make lock` adds the digest")
    if list(row.packages) != sorted(set(row.packages)):
        raise UsageError(f"{path}.packages: sort them, each once")


def read(path: Path = PATH) -> dict[str, Row]:
    """All rows by name. Raises UsageError naming the key that is wrong."""
    reader = read_toml(path)
    rows = reader.table("rows", _row)
    reader.done()
    return rows


def find(rows: dict[str, Row], name: str) -> Row:
    """Raises UsageError."""
    if name not in rows:
        raise UsageError(f"row {name!r}: images/platforms.toml has {', '.join(rows)}")
    return rows[name]


def check_arch(row: Row, arch: str) -> str:
    """Raises UsageError when the row has no such architecture."""
    if arch not in row.arches:
        raise UsageError(f"row {row.name}: exists for {', '.join(row.arches)}, not for {arch}")
    return arch


def find_l4t(rows: dict[str, Row], release: str) -> Row:
    """The one row that lists exactly this L4T release. Raises IncompatibleError with the line to add or to remove."""
    found = [row for row in rows.values() if release in row.l4t]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(row.name for row in found)
        raise IncompatibleError(
            f'L4T {release}: images/platforms.toml lists it in {names}; remove "{release}" from the line `l4t =` of '
            "all but one"
        )
    near = [row for row in rows.values() if any(known.split(".")[0] == release.split(".")[0] for known in row.l4t)]
    line = f"[rows.{near[0].name}] l4t = " if near else "[rows.NAME] (a new row) l4t = "
    listed = ", ".join(f'"{known}"' for known in (*(near[0].l4t if near else ()), release))
    raise IncompatibleError(
        f"L4T {release}: no row of images/platforms.toml lists it and nothing near is taken instead; "
        f"once an image is proved on it (docs/hardware-checklist.md), write {line}[{listed}]"
    )
