"""One model to look at: a folder on this desk, or a version in a source; nothing but small files is read of it.

found = find_model("pilot-1.0.0")
found = find_model("yard/pilot:1.0.0", "oci:registry")
found.contract, found.files, found.digest
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_registry.authoring import AUTHORED, Sizes, read_folder
from model_registry.core.contract import FILE_NAME, Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import MAX_BYTES
from model_registry.core.errors import HomeportError, UsageError
from model_registry.manifests import Descriptor
from model_registry.models import MANIFEST_NAME, Model
from model_registry.packing import prepare
from model_registry.refs import Reference
from model_registry.sources import Source, open_source, read_blob, resolve


@dataclass(frozen=True)
class FoundModel:
    """`named`: as it was asked for; `files`: digest and size in bytes of each; `digest`: None until it is packed.

    `read` gives the bytes of a small file by its path, vla.json among them.
    """

    named: str
    contract: Contract
    files: Sizes
    digest: Digest | None
    read: Callable[[str], bytes]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(size for _, size in self.files.values())


def find_model(named: str, source: str | None = None, *, packed: bool = False) -> FoundModel:
    """A folder, or NAME:VERSION or NAME@sha256:… in `source`. Raises HomeportError.

    With `packed`, a folder is taken for what packing makes of it, with axes fixed; as it is where it cannot be packed.
    """
    if Path(named).is_dir():
        return _in_folder(Path(named), packed)
    if source is None:
        raise UsageError(f"{named}: no folder here; name a model's folder, or give --source to look in")
    return _in_source(named, open_source(source))


def _in_folder(folder: Path, packed: bool) -> FoundModel:
    found = read_folder(folder)
    made = found.made
    files = found.files
    if packed:
        with suppress(HomeportError):
            prepared = prepare(folder)
            made = prepared.changed
            files = dict(prepared.files)
    manifest = folder / MANIFEST_NAME
    stored = manifest.is_file() and not (folder / AUTHORED).is_file()
    digest = Digest.of(manifest.read_bytes()) if stored else None

    def read(path: str) -> bytes:
        changed = made.get(path)
        return (folder / path).read_bytes() if changed is None else changed

    return FoundModel(str(folder), found.contract, files, digest, read)


def _in_source(named: str, source: Source) -> FoundModel:
    reference = Reference.parse(named)
    digest = resolve(source, reference)
    model = Model.find(source, reference.repository, digest)
    files = {path: (layer.digest, layer.size) for path, layer in model.files.items()}
    read = partial(_read, source, reference.repository, model.files)
    return FoundModel(named, model.contract, files, digest, read)


def _read(source: Source, repository: str, files: dict[str, Descriptor], path: str) -> bytes:
    return read_blob(source, repository, files[path], MAX_BYTES)


def contract_file(found: FoundModel) -> bytes:
    """The vla.json of a model, as it is packed or would be."""
    return found.read(FILE_NAME)
