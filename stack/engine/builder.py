"""Builds an engine once per key. Its folder appears by rename when every byte of it is on the disk; damaged ones are put aside."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError, IntegrityError, LockedError, NotFoundError
from model_registry.core.files import Files, sync_tree
from model_registry.core.release import Release
from stack.engine.backends import Choice, Identity, choose
from stack.engine.key import document, engine_key

KEY_FILE = "key.json"
GATE_FILE = "gate.json"
READY_FILE = "ready"


@dataclass(frozen=True)
class Plan:
    """Which engine a release needs on this device: the model, the backend and the key."""

    release: Release
    contract: Contract
    model: Path
    choice: Choice
    identity: Identity
    fields: dict[str, object]

    @property
    def key(self) -> str:
        return engine_key(self.fields)


@dataclass(frozen=True)
class Built:
    """An intact engine. `built` is false when it was already there; `seconds` is what building took."""

    key: str
    folder: Path
    built: bool
    seconds: float
    size_bytes: int


def plan(folder: Path) -> Plan:
    """Read a release folder. Raises NotFoundError, UsageError or IncompatibleError."""
    try:
        payload = (folder / "release.json").read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{folder}: no readable release.json ({error.strerror}); give a folder below releases/"
        ) from error
    release = Release.parse(payload)
    model = (folder / "model").resolve()
    if model.name != release.model.hex:
        raise IntegrityError(
            f"{folder}: model leads to {model.name[:80]}, the release names {release.model}; stage it again"
        )
    contract = Contract.load(model)
    choice = choose(release.recipe.backends)
    backend = choice.kind.open(release.recipe.precision)
    return Plan(release, contract, model, choice, backend.identity, document(contract, release, backend.identity))


def check(folder: Path, key: str) -> int:
    """Return an engine's size in bytes after checking each of them. Raises IntegrityError."""
    try:
        reader = Reader(parse((folder / KEY_FILE).read_bytes(), KEY_FILE), KEY_FILE)
        name, digest, size = reader.text("file"), reader.digest("digest"), reader.integer("bytes")
        reader.integer("schema", 1)
        fields = reader.table("key", lambda value, path: value)
        reader.done()
        if engine_key(fields) != key or folder.name != key:
            raise IntegrityError(f"{folder}: this engine was built for another model, recipe or device; build it again")
        digest.check_file(folder / name, f"{folder}: {name}")
    except OSError as error:
        raise IntegrityError(f"{folder}: {error.filename} cannot be read ({error.strerror}); build it again") from error
    return size


def build(what: Plan, engines: Path, files: Files) -> Built:
    """Return the engine of `what`, building it when it is not there or not intact. Hold `lock` around it."""
    folder = engines / what.key
    if folder.exists():
        try:
            return Built(what.key, folder, False, 0.0, check(folder, what.key))
        except HomeportError:
            quarantine(folder, files)
    start = time.monotonic()
    what.contract.check_files(what.model)
    temporary = engines / f".{what.key}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    files.make_folder(temporary)
    what.choice.kind.build(what.model, what.contract, what.release.overrides, temporary)
    engine = temporary / what.choice.kind.file
    size = engine.stat().st_size
    record = {
        "schema": 1,
        "key": what.fields,
        "file": engine.name,
        "digest": str(Digest.of_file(engine)),
        "bytes": size,
    }
    files.write(temporary / KEY_FILE, dump(record))
    sync_tree(temporary)
    files.rename(temporary, folder)
    return Built(what.key, folder, True, time.monotonic() - start, size)


def quarantine(folder: Path, files: Files) -> Path:
    """Put a damaged engine aside as `<key>.bad`, in place of an older one. Returns where it is."""
    aside = folder.with_name(f"{folder.name}.bad")
    shutil.rmtree(aside, ignore_errors=True)
    files.rename(folder, aside)
    return aside


@contextmanager
def lock(engines: Path, timeout_s: float = 600.0) -> Iterator[None]:
    """Let one process at a time change the engines. Raises LockedError after `timeout_s` seconds."""
    Files().make_folder(engines)
    descriptor = os.open(engines / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LockedError(
                        f"{engines}: another build holds the lock for {timeout_s:.0f} s; wait for it or end it"
                    ) from error
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
