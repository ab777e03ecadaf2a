"""Builds an engine once per key, proves it on this device and records the verdict beside it: `gate.json`, then `ready`.

Its folder appears by rename when every byte of it is on the disk; a damaged one is put aside and built once more. What
an interrupted build left is a folder or file with a leading dot and the suffix .tmp; the next build and `gc` take it
away.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError, IncompatibleError, IntegrityError, NotFoundError, UsageError
from model_registry.core.files import Files, held
from model_registry.core.gate import Check, GateResult, proved
from model_registry.core.layout import Layout, ReleaseFolder
from model_registry.core.release import Release
from model_registry.core.robot import ACTION_MAX_AGE_S
from stack.engine import gates, wiring, worker
from stack.engine.backends import Choice, choose
from stack.engine.goldens import read_goldens
from stack.engine.inference import Inference
from stack.engine.key import document, engine_key

KEY_FILE = "key.json"
GATE_FILE = "gate.json"
READY_FILE = "ready"
TIMING = ".timing"
LOADS = "loads"  # the check that fails when an engine cannot be opened
_YOUNG_S = 3600.0  # an engine is linked from its release only after it was proved


@dataclass(frozen=True)
class BuildPlan:
    """Which engine a release needs on this device: the model, the backend, and the key with the document it is made
    from.
    """

    release: Release
    contract: Contract
    model: Path
    choice: Choice
    fields: dict[str, object]
    key: str
    oldest_s: float = ACTION_MAX_AGE_S
    """How old an observation may be on this robot when an action is carried out."""


@dataclass(frozen=True)
class Built:
    """An intact engine.

    `built` is false when it was already there; `seconds` is what building took; `precision` was read back from it.
    """

    key: str
    folder: Path
    built: bool
    seconds: float
    size_bytes: int
    backend: str
    precision: str


def plan(folder: Path) -> BuildPlan:
    """Read a release folder. Raises NotFoundError, UsageError or IncompatibleError."""
    staged = ReleaseFolder(folder)
    try:
        release = Release.parse(staged.document.read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"{folder}: no readable release.json ({error.strerror}); give a folder below releases/"
        ) from error
    model = staged.model.resolve()
    if model.name != release.model.hex:
        raise IntegrityError(
            f"{folder}: model leads to {model.name[:80]}, the release names {release.model}; stage it again"
        )
    contract = Contract.load(model)
    choice = choose(release.recipe.backends)
    fields = document(contract, release, choice.kind(release.recipe.precision).identity)
    return BuildPlan(release, contract, model, choice, fields, engine_key(fields))


def check(folder: Path, key: str) -> Built:
    """Return the engine that is there after checking each of its bytes. Raises NotFoundError or IntegrityError."""
    if not folder.exists():
        raise NotFoundError(f"{folder}: no such engine; build it first")
    try:
        reader = Reader(parse((folder / KEY_FILE).read_bytes(), KEY_FILE), KEY_FILE)
        reader.schema()
        parts = reader.table("files", Digest.parse)
        size = reader.integer("bytes")
        precision = reader.text("precision")
        fields = reader.mapping("key")
        reader.done()
        if engine_key(fields) != key or folder.name != key:
            raise IntegrityError(f"{folder}: this engine was built for another model, recipe or device; build it again")
        if not parts or size != sum((folder / name).stat().st_size for name in parts):
            raise IntegrityError(f"{folder}: its files are not those that were built; build it again")
        for name, digest in parts.items():
            digest.check_file(folder / name, f"{folder}: {name}")
    except UsageError as error:
        raise IntegrityError(f"{folder}: {error}; build it again") from error
    except OSError as error:
        raise IntegrityError(f"{folder}: {error.filename} cannot be read ({error.strerror}); build it again") from error
    backend = Reader(fields, KEY_FILE).child("backend").text("name")
    return Built(key, folder, False, 0.0, size, backend, precision)


def build(what: BuildPlan, engines: Path, files: Files, say: Callable[[str], None] = lambda text: None) -> Built:
    """Return the engine of `what`, building it when it is not there or not intact. Hold `lock` around it.

    Raises HomeportError, and IncompatibleError when what was built is not in the precision that the release asks for.
    """
    folder = engines / what.key
    if folder.exists():
        try:
            return check(folder, what.key)
        except HomeportError as error:
            say(f"Putting a damaged engine aside: {error}.")
            put_aside(folder, files)
    start = time.monotonic()
    with _made(what, engines, files, say) as made:
        files.rename(made, folder)
    return replace(check(folder, what.key), built=True, seconds=time.monotonic() - start)


def rebuild(
    what: BuildPlan, engines: Path, files: Files, say: Callable[[str], None] = lambda text: None
) -> tuple[Built, GateResult]:
    """Build and prove an engine that is there and cannot be loaded once more; hold `lock` around it.

    Raises as `build` does.

    It is replaced when the new one was proved, and stays otherwise: the release that drives may be using it.
    """
    start = time.monotonic()
    folder = engines / what.key
    with _made(what, engines, files, say) as made:
        result = prove(what, made, files)
        if result.passed:
            put_aside(folder, files)
            files.rename(made, folder)
    return replace(check(folder, what.key), built=result.passed, seconds=time.monotonic() - start), result


@contextmanager
def _made(what: BuildPlan, engines: Path, files: Files, say: Callable[[str], None]) -> Iterator[Path]:
    """A new engine, with every byte on the disk, in a folder that is gone afterwards unless it was renamed."""
    what.contract.check_files(what.model)
    _sweep(engines)
    temporary, scratch = (engines / f".{what.key}{suffix}.tmp" for suffix in ("", ".scratch"))
    try:
        for each in (temporary, scratch, engines / TIMING):
            files.make_folder(each)
        precision = _make(what, temporary, scratch, engines / TIMING, say)
        parts = {
            path.relative_to(temporary).as_posix(): path for path in sorted(temporary.rglob("*")) if path.is_file()
        }
        digests = {name: str(Digest.of_file(path)) for name, path in parts.items()}
        size = sum(path.stat().st_size for path in parts.values())
        record = {"schema": 1, "key": what.fields, "files": digests, "bytes": size, "precision": precision}
        files.write(temporary / KEY_FILE, dump(record))
        files.sync_tree(temporary)
        yield temporary
    finally:
        _sweep(engines)


def put_aside(folder: Path, files: Files) -> None:
    """Take an engine out of use. The newest one of a key is kept, for whoever asks why."""
    aside = folder.with_name(f"{folder.name}.bad")
    shutil.rmtree(aside, ignore_errors=True)
    files.rename(folder, aside)


def _make(what: BuildPlan, target: Path, scratch: Path, timing: Path, say: Callable[[str], None]) -> str:
    """Let a child build. What it measured is kept for this device and these versions, whatever the model."""
    place = Digest.of(dump([what.fields["backend"], what.fields["device"]])).hex
    order = worker.BuildOrder(
        what.choice.name,
        what.release.recipe.precision,
        what.release.overrides,
        str(what.model),
        str(target),
        str(scratch),
        str(timing / f"{place}.cache"),
    )
    built = worker.build(order, say)
    asked = what.release.recipe.precision
    if built != asked:
        raise IncompatibleError(
            f"model {what.contract.name} {what.contract.version}: {what.choice.name} built {built} here, and the "
            f"release asks for {asked};"
            " ask for what this device computes, or choose another backend"
        )
    return built


def _sweep(engines: Path) -> None:
    """Remove what builds that were killed have left, of variants too; nobody else builds under this lock."""
    for path in list(engines.rglob(".*.tmp")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def collect(layout: Layout, now: float) -> list[str]:
    """Remove engines that no release links to, damaged ones and leftovers; the names of those. Hold `lock` around it.

    `now`: seconds since the epoch. An engine younger than an hour stays: its release may be about to link it.
    """
    _sweep(layout.engines)
    used = {link.resolve().name for link in layout.releases.glob("*/engine")}
    removed = []
    for folder in sorted(layout.engines.glob("[!.]*")):
        old = now - folder.stat().st_mtime > _YOUNG_S
        if folder.suffix == ".bad" or (folder.name not in used and old):
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed


def lock(engines: Path, timeout_s: float = 600.0) -> AbstractContextManager[None]:
    """Let one process at a time change the engines. Raises LockedError after `timeout_s` seconds."""
    Files().make_folder(engines)
    return held(engines / ".lock", timeout_s, f"{engines}: another build is running")


def prove(what: BuildPlan, folder: Path, files: Files) -> GateResult:
    """Run the gate and write its result. `ready` comes last, and only when healthy.

    An engine that is ready stays ready: the release that drives may be using it, and a busy minute is no reason to stop
    that robot.
    """
    result = _run(what, folder)
    if result.passed or not (folder / READY_FILE).exists():
        files.write(folder / GATE_FILE, dump(result.document()))
    if result.passed:
        files.write(folder / READY_FILE, b"")
    return result


def _run(what: BuildPlan, folder: Path) -> GateResult:
    recipe = what.release.recipe
    metric = "inputs"
    try:
        what.contract.check_files(what.model)
        samples = read_goldens(what.model, what.contract, recipe.precision)
        metric = LOADS
        # Nothing is kept: the time that is judged is that of the first frame of a command.
        graphs = wiring.load(what.choice.kind, recipe.precision, folder, what.contract, kept=0)
        inference = Inference(what.model, what.contract, graphs)
        metric = "runs"
        return gates.prove(inference, samples, recipe, degraded=what.choice.degraded, oldest_s=what.oldest_s)
    except HomeportError as error:  # an engine that cannot even be tried
        return GateResult.of("prove", [Check(metric, None, None, False, str(error))])


def link(folder: Path, built: Built, result: GateResult, files: Files) -> None:
    """Point the release folder at its engine, and leave the verdict there.

    What failed replaces nothing that was proved.
    """
    release = ReleaseFolder(folder)
    if not result.passed and proved(release.proof):
        return
    files.link(release.engine, f"../../engines/{built.key}")
    files.write(release.proof, dump(result.document()))
