"""The device store: `models/<64 hex of the manifest>/`, real files that appear at once when every byte was checked.

Order of a pull: manifest, contract, does it fit this robot, is there room, which is then taken; only then the first
byte of weights. What is not whole yet lies beside the models, in folders whose names begin with a dot, and waits there
for the next try: a rename does not cross file systems, and models often have a disk of their own.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract import FILE_NAME, Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IntegrityError, LockedError, NotFoundError, UsageError
from model_registry.core.files import Files, held, remove
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from model_registry.disk import ModelDisk
from model_registry.fetching import Fetch
from model_registry.manifests import Manifest
from model_registry.models import MANIFEST_NAME, Model, check_same_files, files_of
from model_registry.sources import Progress, Source, no_progress

_LOCK_S = 600.0
_SPARE_BYTES = 64 << 20
_PART = ".part"


@dataclass(frozen=True)
class PullResult:
    """Where the model is, what it cost, and whether anything was changed."""

    path: Path
    bytes_fetched: int
    changed: bool


def check_model(folder: Path, digest: Digest | None = None) -> Contract:
    """Hash every file of a stored model. Raises IntegrityError, or NotFoundError when it is not there."""
    try:
        data = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{folder}: no readable {MANIFEST_NAME} ({error.strerror}); pull the model first"
        ) from error
    if digest is not None:
        digest.check(data, f"{folder}/{MANIFEST_NAME}")
    files = files_of(Manifest.parse(data, f"{folder}/{MANIFEST_NAME}"), str(folder))
    files[FILE_NAME].digest.check_file(folder / FILE_NAME, f"{folder}/{FILE_NAME}")
    contract = Contract.load(folder)
    check_same_files(contract, files, str(folder))
    contract.check_files(folder)
    return contract


def stored(models: Path, digest: Digest, robot: Robot | None = None) -> PullResult | None:
    """The model when it is here and whole, without asking any source.

    Raises IncompatibleError when it does not fit `robot`.
    """
    try:
        contract = check_model(models / digest.hex, digest)
    except (NotFoundError, IntegrityError, UsageError):
        return None
    if robot is not None:
        Plan.of(contract, robot).check(contract, robot)
    return PullResult(models / digest.hex, 0, False)


def pull_model(
    source: Source,
    repository: str,
    digest: Digest,
    models: Path,
    robot: Robot | None = None,
    progress: Progress = no_progress,
    disk: ModelDisk | None = None,
) -> PullResult:
    """Bring one model to this machine.

    Raises IncompatibleError when it does not fit `robot` (no weight byte was fetched), IntegrityError when bytes are
    not those that were named, TransferError when the source went away; what arrived and is right stays for the next
    try.
    """
    files = Files()
    files.make_folder(models)
    target = models / digest.hex
    before = source.bytes_fetched
    with held(_lock(models, digest), _LOCK_S, f"pull of {repository}"):
        if (found := stored(models, digest, robot)) is not None:
            return found
        part = models / f".{digest.hex}{_PART}"
        damaged = models / f".{digest.hex}.damaged"
        remove(damaged)
        _fetch(source, repository, digest, part, robot, progress, disk or ModelDisk())
        try:
            if target.exists():  # a damaged older copy makes room
                files.rename(target, damaged)
            files.rename(part, target)
        finally:
            remove(damaged)
    return PullResult(target, source.bytes_fetched - before, True)


def _fetch(
    source: Source, repository: str, digest: Digest, part: Path, robot: Robot | None, progress: Progress,
    disk: ModelDisk,
) -> None:  # fmt: skip
    model = Model.find(source, repository, digest)
    if robot is not None:
        Plan.of(model.contract, robot).check(model.contract, robot)
    weights = {path: layer for path, layer in model.files.items() if path != FILE_NAME}
    fetch = Fetch(source, repository, part, weights, progress, disk)
    fetch.tidy()
    fetch.reuse(part.parent)
    _take_room(fetch, part, disk, f"{repository}@{digest}")
    fetch.run()
    for name, data in ((MANIFEST_NAME, model.data), (FILE_NAME, model.words)):
        (part / name).write_bytes(data)
        (part / name).chmod(0o444)
    writer = Files()
    for path in (part / MANIFEST_NAME, part / FILE_NAME, *_folders(part)):
        writer.sync(path)


def _folders(folder: Path) -> list[Path]:
    """All folders of a tree, the innermost first."""
    return [*sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder]


def _take_room(fetch: Fetch, part: Path, disk: ModelDisk, what: str) -> None:
    """Take the room for what is missing, so that two pulls that do not fit together are not both begun.

    What other pulls have left half done goes when it stands in the way. Raises HomeportError where there is none.
    """
    needed = sum(fetch.missing().values())
    models = part.parent
    for leftover in (*_leftovers(models, part), None):
        try:
            if needed == 0 or needed + _SPARE_BYTES <= disk.free(models) + _taken(part):
                fetch.reserve()
                return
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        if leftover is not None:
            remove(leftover)
    raise HomeportError(
        f"{what}: needs {needed >> 20} MiB more and {models} has {disk.free(models) >> 20} MiB free; remove old models "
        "there"
    )


def _taken(part: Path) -> int:
    """Bytes of room that this pull has taken and not yet filled."""
    files = [path.stat() for path in part.rglob("*") if path.is_file()]
    return sum(max(0, found.st_blocks * 512 - found.st_size) for found in files)


def _leftovers(models: Path, part: Path) -> Iterator[Path]:
    """Folders of other pulls that nobody works on now, the oldest first."""
    others = [path for path in models.glob(f".*{_PART}") if path != part]
    for path in sorted(others, key=lambda each: each.stat().st_mtime):
        with suppress(LockedError, UsageError), held(_lock(models, Digest(path.name[1:65])), 0.0, path.name):
            yield path


def _lock(models: Path, digest: Digest) -> Path:
    return models / f".{digest.hex}.lock"
