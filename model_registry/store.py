"""The device store: `models/<64 hex of the manifest>/`, real files that appear all at once when every byte was checked.

Order of a pull: manifest, contract, does it fit this robot, is there room; only then the first byte of weights. What is
not whole yet lies beside the models, in folders whose names begin with a dot: a rename does not cross file systems, and
models often have a disk of their own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.contract import FILE_NAME, Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IntegrityError, NotFoundError, UsageError
from model_registry.core.files import Files, held
from model_registry.core.plan import Plan
from model_registry.core.robot import Robot
from model_registry.manifests import Descriptor, Manifest
from model_registry.models import MANIFEST_NAME, Model, check_same_files, files_of
from model_registry.sources import Progress, Source, no_progress, save_blob

_LOCK_S = 600.0
_SPARE_BYTES = 64 << 20


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
) -> PullResult:
    """Bring one model to this machine.

    Raises IncompatibleError when it does not fit `robot` (no weight byte was fetched), IntegrityError when bytes are
    not those that were named; then nothing is left behind.
    """
    files = Files()
    files.make_folder(models)
    target = models / digest.hex
    before = source.bytes_fetched
    with held(models / f".{digest.hex}.lock", _LOCK_S, f"pull of {repository}"):
        if (found := stored(models, digest, robot)) is not None:
            return found
        part = models / f".{digest.hex}.part"
        damaged = models / f".{digest.hex}.damaged"
        for folder in (part, damaged):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            _fetch(source, repository, digest, part, robot, progress)
            if target.exists():  # a damaged older copy makes room
                files.rename(target, damaged)
            files.rename(part, target)
        finally:
            for folder in (part, damaged):
                shutil.rmtree(folder, ignore_errors=True)
    return PullResult(target, source.bytes_fetched - before, True)


def _fetch(
    source: Source, repository: str, digest: Digest, part: Path, robot: Robot | None, progress: Progress
) -> None:
    model = Model.find(source, repository, digest)
    if robot is not None:
        Plan.of(model.contract, robot).check(model.contract, robot)
    _check_room(model.files, part.parent, f"{repository}@{digest}")
    writer = Files()
    part.mkdir()
    writer.write(part / MANIFEST_NAME, model.data, 0o444)
    writer.write(part / FILE_NAME, model.words, 0o444)
    for path, layer in sorted(model.files.items()):
        if path != FILE_NAME:
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            save_blob(source, repository, layer, part / path, progress)
            (part / path).chmod(0o444)
    model.contract.check_files(part)
    writer.sync_tree(part)


def _check_room(files: dict[str, Descriptor], folder: Path, what: str) -> None:
    needed = sum(layer.size for layer in files.values())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise HomeportError(
            f"{what}: needs {needed >> 20} MiB and {folder} has {free >> 20} MiB free; remove old models there"
        )
