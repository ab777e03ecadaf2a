"""Make a release: pin everything by digest, write the document, sign it, and store it where robots find it by its own digest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, NotFoundError, UsageError
from model_registry.core.release import PAYLOAD_TYPE, Release, payload
from model_registry.drafts import PROCESS, Draft, DraftImage
from model_registry.keys import sign
from model_registry.manifests import EMPTY, EMPTY_BYTES, TITLE, Descriptor, Manifest
from model_registry.packing import read_contract
from model_registry.releases import ARTIFACT, ENVELOPE, ENVELOPE_NAME, ROW_ARCH, WHEEL, locator, repository_of
from model_registry.sources import Source, file_pieces, refuse_move, resolve

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Wheel:
    """A wheel that goes into the artifact."""

    layer: Descriptor
    path: Path


def create(draft: Draft, source: Source, key: EllipticCurvePrivateKey) -> Release:
    """Publish a release and return it. The same draft and key give the same bytes; another document under a known version raises RefusedError."""
    repository = repository_of(draft.name)
    wheels: list[Wheel] = []
    images = {row: _image(row, image, repository, wheels) for row, image in sorted(draft.images.items())}
    model = resolve(source, draft.model)
    document = payload(
        {
            "schema": 1,
            "name": draft.name,
            "version": draft.version,
            "counter": draft.counter,
            "minimum_counter": draft.minimum_counter,
            "images": images,
            "model": {"repository": draft.model.repository, "digest": str(model)},
            **draft.sections,
        }
    )
    release = Release.parse(document)
    _check(release, read_contract(source, release.model_repository, model))
    _store(source, repository, release, sign(PAYLOAD_TYPE, document, key), wheels)
    return release


def _image(row_arch: str, image: DraftImage, repository: str, wheels: list[Wheel]) -> dict[str, object]:
    image.check(row_arch)
    if not row_arch.startswith(PROCESS):
        digests = {"digest": str(image.digest), "config_digest": str(image.config_digest)}
        return {"repository": image.repository, **digests, "lock": None}
    assert image.wheel is not None and image.lock is not None
    wheel = _wheel(image.wheel, row_arch)
    wheels.append(wheel)
    lock = Digest.of_file(_readable(image.lock))
    return {"repository": repository, "digest": str(wheel.layer.digest), "config_digest": None, "lock": str(lock)}


def _wheel(path: Path, row_arch: str) -> Wheel:
    with _readable(path).open("rb") as file:
        if file.read(4) != _ZIP_MAGIC or path.suffix != ".whl":
            raise UsageError(f"{path}: not a wheel; build one with `pip wheel` or `hatchling build`")
    annotations = {TITLE: path.name, ROW_ARCH: row_arch}
    return Wheel(Descriptor(WHEEL, Digest.of_file(path), path.stat().st_size, annotations), path)


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; build it, or name another one")
    return path


def _check(release: Release, contract: Contract) -> None:
    """Refuse now what every robot would refuse later."""
    if release.minimum_counter > release.counter:
        raise UsageError(
            f"release.minimum_counter: {release.minimum_counter} is above its own counter {release.counter}"
        )
    if contract.embodiment != release.compatibility.embodiment:
        raise IncompatibleError(
            f"release {release.name}: is for {release.compatibility.embodiment}, its model for {contract.embodiment}; choose another model"
        )
    for golden in contract.goldens:
        if release.recipe.precision not in golden.tolerance:
            known = ", ".join(sorted(golden.tolerance))
            raise IncompatibleError(
                f"release.engine.precision: {golden.path} of {contract.name} proves {known} only, not {release.recipe.precision}"
            )
    rows = {row_arch.partition("/")[0] for row_arch in release.images}
    if unserved := sorted(set(release.compatibility.rows) - rows):
        raise UsageError(
            f"release.compatibility.rows: no image for {unserved[0]!r}; add an [[image]] or take the row away"
        )


def _store(source: Source, repository: str, release: Release, envelope: bytes, wheels: list[Wheel]) -> None:
    document = Descriptor.of(ENVELOPE, envelope, {TITLE: ENVELOPE_NAME})
    manifest = Manifest(ARTIFACT, EMPTY, (document, *(wheel.layer for wheel in wheels)))
    data = manifest.bytes()
    tags = (locator(release.digest), release.version)
    for tag in tags:
        if (old := source.find(repository, tag)) is not None:
            refuse_move(repository, tag, old, Digest.of(data))
    source.put_blob(repository, EMPTY, lambda: (EMPTY_BYTES,))
    source.put_blob(repository, document, lambda: (envelope,))
    for wheel in wheels:
        source.put_blob(repository, wheel.layer, partial(file_pieces, wheel.path))
    for tag in tags:
        source.put_manifest(repository, data, tag)
