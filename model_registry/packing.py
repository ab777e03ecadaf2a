"""Turn a model folder into an artifact, after everything that can be checked without running it was checked; and copy artifacts between sources."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from model_registry.core.contract import FILE_NAME, Contract, check_path
from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError, UsageError
from model_registry.goldens import check_npz
from model_registry.manifests import Manifest
from model_registry.models import MANIFEST_NAME, MAX_CONTRACT_BYTES, build, check_same_files, files_of
from model_registry.refs import check_tag
from model_registry.sources import Progress, Source, file_pieces, no_progress, read_blob, refuse_move


def check_folder(folder: Path) -> tuple[Contract, dict[str, tuple[Digest, int]]]:
    """Read a model folder: its contract, and path → digest and size in bytes of every file. Raises HomeportError; changes nothing."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder; name the folder that holds {FILE_NAME}")
    contract = Contract.load(folder)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise RefusedError(f"{path}: not a plain file; a model carries real files only, copy it there")
        if path.is_file() and relative != MANIFEST_NAME:
            check_path(relative, str(folder))
    contract.check_files(folder)
    for golden in contract.goldens:
        check_npz(folder / golden.path)
    files = {path: (digest, (folder / path).stat().st_size) for path, digest in contract.files.items()}
    own = (folder / FILE_NAME).read_bytes()
    files[FILE_NAME] = (Digest.of(own), len(own))
    return contract, files


def pack(folder: Path, source: Source, progress: Progress = no_progress) -> tuple[Contract, Digest]:
    """Store a model folder in `source` under the name and version of its contract. Raises RefusedError when that version exists with other files."""
    contract, files = check_folder(folder)
    check_tag(contract.version, f"{FILE_NAME}.version")
    manifest, config = build(contract, files)
    data = manifest.bytes()
    _refuse_other(source, contract.name, contract.version, Digest.of(data))
    source.put_blob(contract.name, manifest.config, lambda: (config,))
    for path, layer in zip(sorted(files), manifest.layers, strict=True):
        source.put_blob(contract.name, layer, partial(file_pieces, folder / path))
        progress(layer.size)
    source.put_manifest(contract.name, data, contract.version)
    return contract, Digest.of(data)


def read_contract(source: Source, repository: str, digest: Digest) -> Contract:
    """The contract of a model in a source. Raises HomeportError when it is not a whole model."""
    what = f"{repository}@{digest}"
    files = files_of(Manifest.parse(source.manifest(repository, digest), what), what)
    contract = Contract.parse(read_blob(source, repository, files[FILE_NAME], MAX_CONTRACT_BYTES))
    check_same_files(contract, files, what)
    return contract


def copy(
    origin: Source, target: Source, repository: str, digest: Digest, tag: str, progress: Progress = no_progress
) -> int:
    """Copy an artifact under the same name; returns the size in bytes of its blobs. What the target has is not sent again."""
    data = origin.manifest(repository, digest)
    manifest = Manifest.parse(data, f"{repository}@{digest}")
    _refuse_other(target, repository, tag, digest)
    for blob in manifest.blobs:
        target.put_blob(repository, blob, partial(origin.stream, repository, blob))
        progress(blob.size)
    target.put_manifest(repository, data, tag)
    return sum(blob.size for blob in manifest.blobs)


def _refuse_other(source: Source, repository: str, tag: str, digest: Digest) -> None:
    """Refuse before any byte is stored what `put_manifest` would refuse in the end."""
    if (old := source.find(repository, tag)) is not None:
        refuse_move(repository, tag, old, digest)
