"""Builds an engine once per key, proves it on this device and records the verdict beside it: `gate.json`, then `ready`.

Its folder appears by rename when every byte of it is on the disk; damaged ones are put aside.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError, IntegrityError, NotFoundError
from model_registry.core.files import Files, held, sync_tree
from model_registry.core.gate import Check, GateResult
from model_registry.core.release import Release
from stack.engine import gates
from stack.engine.backends import Choice, choose
from stack.engine.key import document, engine_key
from stack.engine.normalization import Normalization

KEY_FILE = "key.json"
GATE_FILE = "gate.json"
READY_FILE = "ready"


@dataclass(frozen=True)
class Plan:
    """Which engine a release needs on this device: the model, the backend, and the key with the document it is made from."""

    release: Release
    contract: Contract
    model: Path
    choice: Choice
    fields: dict[str, object]
    key: str


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
        release = Release.parse((folder / "release.json").read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"{folder}: no readable release.json ({error.strerror}); give a folder below releases/"
        ) from error
    model = (folder / "model").resolve()
    if model.name != release.model.hex:
        raise IntegrityError(
            f"{folder}: model leads to {model.name[:80]}, the release names {release.model}; stage it again"
        )
    contract = Contract.load(model)
    choice = choose(release.recipe.backends)
    fields = document(contract, release, choice.kind(release.recipe.precision).identity)
    return Plan(release, contract, model, choice, fields, engine_key(fields))


def check(folder: Path, key: str) -> Built:
    """Return the engine that is there after checking each of its bytes. Raises NotFoundError or IntegrityError."""
    if not folder.exists():
        raise NotFoundError(f"{folder}: no such engine; build it first")
    try:
        reader = Reader(parse((folder / KEY_FILE).read_bytes(), KEY_FILE), KEY_FILE)
        name, digest, size = reader.text("file"), reader.digest("digest"), reader.integer("bytes")
        reader.integer("schema", 1)
        fields = reader.mapping("key")
        reader.done()
        if engine_key(fields) != key or folder.name != key:
            raise IntegrityError(f"{folder}: this engine was built for another model, recipe or device; build it again")
        digest.check_file(folder / name, f"{folder}: {name}")
    except OSError as error:
        raise IntegrityError(f"{folder}: {error.filename} cannot be read ({error.strerror}); build it again") from error
    return Built(key, folder, False, 0.0, size)


def build(what: Plan, engines: Path, files: Files) -> Built:
    """Return the engine of `what`, building it when it is not there or not intact. Hold `lock` around it."""
    folder = engines / what.key
    if folder.exists():
        try:
            return check(folder, what.key)
        except HomeportError:
            aside = folder.with_name(f"{folder.name}.bad")  # the newest damaged one is kept, for whoever asks why
            shutil.rmtree(aside, ignore_errors=True)
            files.rename(folder, aside)
    start = time.monotonic()
    what.contract.check_files(what.model)
    temporary = engines / f".{what.key}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    files.make_folder(temporary)
    what.choice.kind.build(what.model, what.contract, what.release.overrides, temporary)
    engine = temporary / what.choice.kind.FILE
    size, digest = engine.stat().st_size, str(Digest.of_file(engine))
    record = {"schema": 1, "key": what.fields, "file": engine.name, "digest": digest, "bytes": size}
    files.write(temporary / KEY_FILE, dump(record))
    sync_tree(temporary)
    files.rename(temporary, folder)
    return Built(what.key, folder, True, time.monotonic() - start, size)


def lock(engines: Path, timeout_s: float = 600.0) -> AbstractContextManager[None]:
    """Let one process at a time change the engines. Raises LockedError after `timeout_s` seconds."""
    Files().make_folder(engines)
    return held(engines / ".lock", timeout_s, f"{engines}: another build is running")


def prove(what: Plan, folder: Path, files: Files) -> GateResult:
    """Run the gate and write its result. `ready` comes last, and only when healthy.

    An engine that is ready stays ready: the release that drives may be using it, and a busy minute is no reason to stop that robot.
    """
    result = _run(what, folder)
    if result.passed or not (folder / READY_FILE).exists():
        files.write(folder / GATE_FILE, dump(result.document()))
    if result.passed:
        files.write(folder / READY_FILE, b"")
    return result


def _run(what: Plan, folder: Path) -> GateResult:
    recipe = what.release.recipe
    try:
        what.contract.check_files(what.model)
        samples = gates.read_goldens(what.model, what.contract, recipe.precision)
        units = Normalization.load(what.model, what.contract)
        backend = what.choice.kind(recipe.precision)
        backend.load(folder, what.contract)
        return gates.prove(backend, samples, what.contract, units, recipe)
    except HomeportError as error:  # an engine that cannot even be tried
        return GateResult.of("prove", [Check("loads", None, None, False, str(error))])


def link(folder: Path, built: Built, result: GateResult, files: Files) -> None:
    """Point the release folder at its engine, and leave the verdict there."""
    files.link(folder / "engine", f"../../engines/{built.key}")
    files.write(folder / "prove.json", dump(result.document()))
