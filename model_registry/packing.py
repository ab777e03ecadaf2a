"""Turn a model folder into an artifact, after everything that can be checked without running it was checked; and copy
artifacts between sources.
"""

from __future__ import annotations

import ast
import struct
import zipfile
from functools import partial
from pathlib import Path

from model_registry.core.contract import FILE_NAME, Contract, check_path
from model_registry.core.digest import Digest
from model_registry.core.errors import RefusedError, UsageError
from model_registry.manifests import Manifest
from model_registry.models import MANIFEST_NAME, build
from model_registry.refs import check_tag
from model_registry.sources import Progress, Source, file_pieces, has_version, no_progress

_NPY_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER_BYTES = 65_536


def check_folder(folder: Path) -> tuple[Contract, dict[str, tuple[Digest, int]]]:
    """Read a model folder: its contract, and path → digest and size in bytes of every file.

    Raises HomeportError; changes nothing.
    """
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
    """Store a model folder in `source` under the name and version of its contract.

    Raises RefusedError when that version exists with other files.
    """
    contract, files = check_folder(folder)
    check_tag(contract.version, f"{FILE_NAME}.version")
    manifest, config = build(contract, files)
    data = manifest.bytes()
    has_version(source, contract.name, contract.version, Digest.of(data))  # refused before any byte is stored
    source.put_blob(contract.name, manifest.config, lambda: (config,))
    for path, layer in zip(sorted(files), manifest.layers, strict=True):
        source.put_blob(contract.name, layer, partial(file_pieces, folder / path))
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
        target.put_blob(repository, blob, partial(origin.stream, repository, blob))
        progress(blob.size)
    target.put_manifest(repository, data, tag)
    return sum(blob.size for blob in manifest.blobs)


def check_npz(path: Path) -> tuple[str, ...]:
    """Names of the arrays in an .npz file. Raises UsageError when it holds none, or anything but plain numbers.

    Objects in a golden would run code in whoever loads it carelessly; so its headers are read without unpacking it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                with archive.open(name) as member:
                    _check_npy(member.read(12 + _MAX_NPY_HEADER_BYTES), f"{path}: {name}")
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise UsageError(f"{path}: not a readable .npz file ({error}); write it with numpy.savez") from error
    if not names:
        raise UsageError(f"{path}: holds no arrays; write inputs and expected actions with numpy.savez")
    return tuple(name.removesuffix(".npy") for name in names)


def _check_npy(data: bytes, what: str) -> None:
    if data[:6] != _NPY_MAGIC or len(data) < 12:
        raise UsageError(f"{what}: not a numpy array; write it with numpy.savez")
    wide = data[6] >= 2
    (length,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    start = 12 if wide else 10
    try:
        header = ast.literal_eval(data[start : start + length].decode("latin-1").strip())
        kind = header["descr"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise UsageError(f"{what}: its header cannot be read; write it with numpy.savez") from error
    if not isinstance(kind, str) or kind[1:2] not in {"b", "i", "u", "f"}:
        raise UsageError(f"{what}: holds {kind!r}; only plain numbers are allowed in goldens")
