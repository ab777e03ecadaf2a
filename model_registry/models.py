"""A model as an OCI artifact with the CNCF ModelPack media types: one file a layer, so that every tool for registries
can move it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from model_registry.core.contract import FILE_NAME, Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.errors import IntegrityError, NotFoundError, UsageError
from model_registry.core.paths import check_path
from model_registry.manifests import FILE_PATH, TITLE, Descriptor, Manifest
from model_registry.sources import Source, read_blob

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
MAX_CONTRACT_BYTES = 1 << 20
MANIFEST_NAME = "manifest.json"
_WEIGHT, _WEIGHT_CONFIG, _DATASET, _DOC = (
    f"application/vnd.cncf.model.{kind}.v1.raw" for kind in ("weight", "weight.config", "dataset", "doc")
)
_WEIGHTS = dict.fromkeys((".onnx", ".data", ".onnx_data", ".safetensors"), _WEIGHT)
_BY_SUFFIX = {**_WEIGHTS, ".npz": _DATASET, ".md": _DOC, "": _DOC}


@dataclass(frozen=True)
class Model:
    """A model as it lies in a source: its manifest and its contract, which list the same files."""

    data: bytes
    manifest: Manifest
    files: dict[str, Descriptor]
    words: bytes
    contract: Contract

    @classmethod
    def find(cls, source: Source, repository: str, digest: Digest) -> Model:
        """Raises HomeportError when it is not a whole model."""
        what = f"{repository}@{digest}"
        data = source.manifest(repository, digest)
        manifest = Manifest.parse(data, what)
        files = files_of(manifest, what)
        words = read_blob(source, repository, files[FILE_NAME], MAX_CONTRACT_BYTES)
        contract = Contract.parse(words)
        check_same_files(contract, files, what)
        return cls(data, manifest, files, words, contract)


def build(contract: Contract, files: dict[str, tuple[Digest, int]]) -> tuple[Manifest, bytes]:
    """The manifest of a model and the bytes of its config blob.

    `files`: path → digest and size in bytes, `vla.json` included.
    """
    layers = tuple(
        Descriptor(
            _BY_SUFFIX.get(PurePosixPath(path).suffix, _WEIGHT_CONFIG), digest, size, {FILE_PATH: path, TITLE: path}
        )
        for path, (digest, size) in sorted(files.items())
    )
    config = dump(
        {
            "descriptor": {"name": contract.name, "version": contract.version, "licenses": [contract.licence]},
            "config": {"format": "onnx"},
            "modelfs": {"type": "layers", "diffIds": [str(layer.digest) for layer in layers]},
        }
    )
    annotations = {
        TITLE: contract.name,
        "org.opencontainers.image.version": contract.version,
        "org.opencontainers.image.licenses": contract.licence,
    }
    manifest = Manifest(ARTIFACT, Descriptor.of(CONFIG, config), layers, annotations)
    check_paths(files, contract.name)
    return manifest, config


def files_of(manifest: Manifest, what: str) -> dict[str, Descriptor]:
    """Path → layer of a model's manifest, the contract among them. Raises UsageError when it is not a model."""
    if manifest.artifact_type != ARTIFACT:
        raise UsageError(f"{what}: is {manifest.artifact_type}, not a model; name a model")
    files: dict[str, Descriptor] = {}
    for index, layer in enumerate(manifest.layers):
        path = check_path(layer.annotations.get(FILE_PATH, ""), f"{what}.layers[{index}].{FILE_PATH}")
        if path in files:
            raise UsageError(f"{what}.layers[{index}]: {path} comes twice")
        files[path] = layer
    check_paths(files, what)
    if FILE_NAME not in files:
        raise NotFoundError(f"{what}: carries no {FILE_NAME}; pack it with `homeport model pack`")
    if files[FILE_NAME].size > MAX_CONTRACT_BYTES:
        raise UsageError(
            f"{what}: {FILE_NAME} has {files[FILE_NAME].size} bytes, at most {MAX_CONTRACT_BYTES} are read"
        )
    return files


def check_paths(files: dict[str, Descriptor] | dict[str, tuple[Digest, int]], what: str) -> None:
    """Refuse paths that collide on some file system. Raises UsageError."""
    folded = Counter(path.casefold() for path in files)
    folders = {str(parent) for path in folded for parent in PurePosixPath(path).parents}
    for path in files:
        fold = path.casefold()
        if folded[fold] > 1 or fold in folders or fold == MANIFEST_NAME:
            raise UsageError(f"{what}: the path {path} collides with another one; rename the file")


def check_same_files(contract: Contract, files: dict[str, Descriptor], what: str) -> None:
    """The contract's list must be the manifest's list. Raises IntegrityError naming the first difference."""
    carried = {path: layer.digest for path, layer in files.items() if path != FILE_NAME}
    for path in sorted(carried.keys() | contract.files.keys()):
        if carried.get(path) != contract.files.get(path):
            raise IntegrityError(
                f"{what}: {path} is {carried.get(path) or 'missing'} in the manifest and"
                f" {contract.files.get(path) or 'missing'} in {FILE_NAME}; pack the model again"
            )
