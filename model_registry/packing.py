"""Turn a model folder into an artifact, after everything that can be checked without running it was checked; and copy
artifacts between sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_registry.authoring import AUTHORED, ModelFolder, Sizes, read_folder
from model_registry.core.contract import FILE_NAME, Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError
from model_registry.inspection import inspect
from model_registry.manifests import Manifest
from model_registry.models import build
from model_registry.refs import check_tag
from model_registry.sources import Progress, Source, copy_blob, file_pieces, has_version, no_progress


@dataclass(frozen=True)
class Prepared:
    """A model folder that was looked into: what will be packed. `changed` stands in the place of files of the folder,
    which stays as it is; `notes` says what changed.
    """

    folder: Path
    contract: Contract
    files: Mapping[str, tuple[Digest, int]]
    changed: Mapping[str, bytes]
    notes: tuple[str, ...]

    @property
    def authored(self) -> bool:
        """Whether its contract is made of a vla.toml."""
        return (self.folder / AUTHORED).is_file()

    def pieces(self, path: str) -> Iterator[bytes]:
        """The bytes of a file as they are packed."""
        if path in self.changed:
            return iter((self.changed[path],))
        return file_pieces(self.folder / path)


def check_folder(folder: Path) -> tuple[Contract, Sizes]:
    """A model folder that may be packed: its contract, and path → digest and size in bytes of every file.

    Raises HomeportError; changes nothing.
    """
    found = _with_goldens(folder)
    return found.contract, found.files


def _with_goldens(folder: Path) -> ModelFolder:
    found = read_folder(folder)
    if not found.contract.goldens:
        document = AUTHORED if FILE_NAME in found.made else FILE_NAME
        raise UsageError(f"{document}.goldens: a model without goldens cannot be proved; add at least one")
    return found


def prepare(folder: Path) -> Prepared:
    """Check a model folder and look into all of its files (`inspection`). Raises HomeportError; changes nothing."""
    found = _with_goldens(folder)
    looked = inspect(folder, found.contract, found.made)
    changed = {**found.made, **looked.changed}
    sizes = {path: (Digest.of(data), len(data)) for path, data in changed.items()}
    contract = Contract.parse(changed[FILE_NAME]) if FILE_NAME in changed else found.contract
    return Prepared(folder, contract, found.files | sizes, changed, looked.notes)


def pack(folder: Path, source: Source, progress: Progress = no_progress) -> tuple[Contract, Digest]:
    """Look into a model folder and store it; see `prepare` and `put`."""
    return put(prepare(folder), source, progress)


def put(prepared: Prepared, source: Source, progress: Progress = no_progress) -> tuple[Contract, Digest]:
    """Store a model in `source` under the name and version of its contract.

    Raises RefusedError when that version exists with other files.
    """
    contract = prepared.contract
    files = dict(prepared.files)
    check_tag(contract.version, f"{FILE_NAME}.version")
    manifest, config = build(contract, files)
    data = manifest.bytes()
    has_version(source, contract.name, contract.version, Digest.of(data))  # refused before any byte is stored
    source.put_blob(contract.name, manifest.config, lambda: (config,))
    for path, layer in zip(sorted(files), manifest.layers, strict=True):
        source.put_blob(contract.name, layer, partial(prepared.pieces, path))
        progress(layer.size)
    source.put_manifest(contract.name, data, contract.version)
    return contract, Digest.of(data)


def copy(
    origin: Source, target: Source, repository: str, digest: Digest, tag: str, progress: Progress = no_progress
) -> int:
    """Copy an artifact under the same name; returns the size in bytes of its blobs.

    What the target has is not sent again.
    """
    data = origin.manifest(repository, digest)
    manifest = Manifest.parse(data, f"{repository}@{digest}")
    has_version(target, repository, tag, digest)  # refused before any byte is sent
    for blob in manifest.blobs:
        copy_blob(origin, target, repository, blob)
        progress(blob.size)
    target.put_manifest(repository, data, tag)
    return sum(blob.size for blob in manifest.blobs)
