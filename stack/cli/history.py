"""The records of what was done to a fleet, as the playbooks write them beside the inventory: read, list, and show one.

A record without an end is that of a run that goes on, or whose controller was killed; one that cannot be read is listed
and said to be damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from model_registry.cli.entry import aligned
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import NotFoundError, UsageError
from model_registry.core.paths import at_home
from model_registry.core.visible import visible

FOLDER = "rollouts"
KINDS = ("deploy", "rollback", "status")
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One record. Times are ISO 8601 in UTC; `hosts` is empty and `ended` None while nothing came of it."""

    name: str
    kind: str
    user: str
    host: str
    folder: str
    began: str
    ended: str | None
    asked: Mapping[str, Any]
    summary: str
    hosts: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, path: Path) -> Run:
        """Raises UsageError with the key when it is damaged, OSError when it cannot be read."""
        reader = Reader(parse(path.read_bytes(), path.name, MAX_BYTES), path.name)
        reader.schema()
        who = reader.child("who")
        outcome = reader.child("outcome") if reader.has("outcome") else None
        return cls(
            name=path.stem,
            kind=reader.text("kind", KINDS),
            user=who.text("user"),
            host=who.text("host"),
            folder=who.text("folder"),
            began=_time(reader.text("began"), f"{path.name}.began"),
            ended=_time(reader.text("ended"), f"{path.name}.ended") if reader.has("ended") else None,
            asked=reader.mapping("asked"),
            summary=outcome.text("summary") if outcome else "",
            hosts=outcome.table("hosts", _host) if outcome else {},
        )

    @property
    def wanted(self) -> str:
        """The release that was asked for, or where a rollback was to go, as a list shows it."""
        text = str(self.asked.get("release") or self.asked.get("to") or "")
        return text[7:19] if text.startswith("sha256:") else text or "-"

    @property
    def result(self) -> str:
        """How many robots were as wanted, or that the run has no end."""
        if self.ended is None:
            return "no end: it goes on, or its controller was killed"
        good = sum(host.get("ok") is True for host in self.hosts.values())
        return f"{good} of {len(self.hosts)} robots"

    def row(self) -> tuple[str, ...]:
        return (self.name, self.kind, self.wanted, f"{self.user}@{self.host}", self.result)


def _host(value: object, path: str) -> dict[str, Any]:
    return Reader({"host": value}, path).mapping("host")


def _time(text: str, path: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{path}: expected a time as ISO 8601 has it, got {text!r}") from None
    return text


def records(place: Path) -> list[Path]:
    """Every record of a fleet, oldest first.

    `place` is its inventory (a file or a folder), the folder that this is in, or the records' own.

    Raises NotFoundError when nothing was recorded yet.
    """
    absolute = at_home(place).absolute()
    for folder in (absolute / FOLDER, absolute, absolute.parent / FOLDER):
        if folder.name == FOLDER and folder.is_dir():
            return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    raise NotFoundError(f"{place}: no folder {FOLDER} in it or beside it; give the inventory that make was given")


def find(paths: list[Path], name: str) -> Path:
    """The record of this name, or of the only one that begins with it; `last` is the newest. Raises NotFoundError."""
    if name == "last" and paths:
        return paths[-1]
    found = [path for path in paths if path.stem == name] or [path for path in paths if path.stem.startswith(name)]
    if len(found) != 1:
        raise NotFoundError(f"{name}: {len(found)} records of that name; `homeport fleet history` lists them")
    return found[0]


def listing(paths: Iterable[Path]) -> str:
    """All records as a table, the newest last."""
    rows: list[tuple[str, ...]] = [("record", "what", "release", "who", "as wanted")]
    for path in paths:
        try:
            rows.append(Run.load(path).row())
        except (UsageError, OSError) as error:
            rows.append((path.stem, "?", "-", "-", f"damaged ({error})"))
    return aligned(rows)


def details(run: Run) -> str:
    """One record for people: who, when, what, and every robot with the figures of its gates."""
    asked = ", ".join(f"{key} {_words(value)}" for key, value in run.asked.items() if value not in (None, "", []))
    lines = [
        f"{run.kind} {run.wanted}, began {run.began}, ended {run.ended or '-'}",
        f"by {run.user} on {run.host}, in {run.folder}",
        f"asked for: {asked or 'nothing'}",
        run.summary or run.result,
    ]
    for name, host in run.hosts.items():
        lines += ["", f"{name}: {'as wanted' if host.get('ok') else host.get('story') or host.get('stage')}"]
        lines += [f"  {text}" for text in _robot(host)]
    return "\n".join(map(visible, lines))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _robot(host: Mapping[str, Any]) -> Iterable[str]:
    running = host.get("running")
    failure = host.get("failure")
    if running:
        yield f"runs {running['name']} {running['version']} ({running['digest'][7:19]})"
    if failure:
        yield f"failed in {failure['stage']}: {failure['message']}"
    for gate in host.get("gates") or []:
        checks = ", ".join(f"{each['metric']} {_figures(each)}" for each in gate["checks"])
        yield f"gate {gate['gate']}: {gate['verdict']} ({checks})"


def _figures(check: Mapping[str, Any]) -> str:
    shown = " of ".join(f"{check[key]:g}" for key in ("value", "threshold") if check[key] is not None)
    return (shown or "no figure") + ("" if check["ok"] else " FAILED")
