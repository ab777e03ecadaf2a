"""Make a release: pin everything by digest, write and sign the document, and store it under its own digest.

A person writes tags and paths into a release.toml (docs/examples/release.toml explains every key); paths start at the
file's own folder. An image of another row than `process` takes `ref = "homeport/stack:TAG"`, or repository and digest,
in place of wheel and lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import IncompatibleError, NotFoundError, UsageError
from model_registry.core.release import (
    PAYLOAD_TYPE,
    Release,
    check_image,
    check_name,
    check_version,
    image_l4t,
    payload,
)
from model_registry.core.toml import read_toml
from model_registry.images import find_image
from model_registry.keys import sign
from model_registry.manifests import EMPTY, EMPTY_BYTES, TITLE, Descriptor, Manifest
from model_registry.models import Model
from model_registry.refs import Reference
from model_registry.releases import ARTIFACT, ENVELOPE, PROCESS, ROW_ARCH, WHEEL, locator, repository_of
from model_registry.sources import Source, file_pieces, has_version, resolve

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_SECTIONS = ("engine", "config", "compatibility", "state")
_ZIP_MAGIC = b"PK\x03\x04"
Wheels = list[tuple[Descriptor, Path]]


@dataclass(frozen=True)
class DraftImage:
    """What one row and architecture runs.

    A wheel and its lock file (row `process`), or a container image by tag or digest.
    """

    wheel: Path | None
    lock: Path | None
    reference: Reference | None
    config_digest: Digest | None

    @classmethod
    def read(cls, reader: Reader, folder: Path) -> DraftImage:
        reference = Reference.parse(reader.text("ref")) if reader.has("ref") else None
        if reader.has("repository") or reader.has("digest"):
            if reference is not None:
                raise UsageError(f"{reader.path}: expected either ref or repository and digest")
            reference = Reference(reader.text("repository"), None, reader.digest("digest"))
        return cls(
            wheel=folder / reader.text("wheel") if reader.has("wheel") else None,
            lock=folder / reader.text("lock") if reader.has("lock") else None,
            reference=reference,
            config_digest=reader.digest("config_digest") if reader.has("config_digest") else None,
        )


@dataclass(frozen=True)
class Draft:
    """A parsed release.toml.

    `sections` are copied into the document as they stand: engine, config, compatibility, and state where there is one.
    """

    name: str
    version: str
    counter: int
    minimum_counter: int
    model: Reference
    images: dict[str, DraftImage]
    sections: dict[str, object]

    @classmethod
    def load(cls, path: Path) -> Draft:
        """Read release.toml; paths in it start at its own folder. Raises NotFoundError or UsageError naming the key."""
        reader = read_toml(path)
        model = reader.child("model")
        images: dict[str, DraftImage] = {}
        for entry in reader.objects("image", lambda entry: entry):
            row_arch = entry.text("row_arch")
            if row_arch in images:
                raise UsageError(f"{entry.path}.row_arch: {row_arch} comes twice")
            images[row_arch] = DraftImage.read(entry, path.parent)
        draft = cls(
            name=check_name(reader.text("name"), f"{path.name}.name"),
            version=check_version(reader.text("version"), f"{path.name}.version"),
            counter=reader.integer("counter", 1),
            minimum_counter=reader.integer("minimum_counter"),
            model=Reference.parse(model.text("ref")),
            images=images,
            sections={key: reader.mapping(key) for key in _SECTIONS if key != "state" or reader.has(key)},
        )
        reader.done()
        return draft

    def changed(
        self,
        version: str | None = None,
        counter: int | None = None,
        model: str | None = None,
        wheel: Path | None = None,
        lock: Path | None = None,
    ) -> Draft:
        """The draft with what the command line says instead; `wheel` and `lock` go to every row `process`."""
        images = dict(self.images)
        for row, image in images.items():
            if row.startswith(PROCESS):
                images[row] = replace(image, wheel=wheel or image.wheel, lock=lock or image.lock)
        return replace(
            self,
            version=self.version if version is None else check_version(version, "--version"),
            counter=self.counter if counter is None else counter,
            model=self.model if model is None else Reference.parse(model),
            images=images,
        )


def create(draft: Draft, source: Source, *signers: EllipticCurvePrivateKey) -> Release:
    """Publish a release and return it.

    The same draft and keys give the same bytes; another document under a known version raises RefusedError.
    """
    repository = repository_of(draft.name)
    wheels: Wheels = []
    served: set[str] = set()
    images: dict[str, object] = {}
    for row, image in sorted(draft.images.items()):
        is_wheel = row.startswith(PROCESS)
        images[row] = _wheel_image(row, image, repository, wheels) if is_wheel else _image(row, image, source, served)
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
    _check(release, Model.find(source, release.model_repository, model).contract, served)
    _store(source, repository, release, sign(PAYLOAD_TYPE, document, *signers), wheels)
    return release


def _image(row_arch: str, image: DraftImage, source: Source, l4t: set[str]) -> dict[str, object]:
    """The entry of a container image; what L4T it serves is noted in `l4t`.

    Raises HomeportError when it is not what its row needs.
    """
    if image.reference is None or image.wheel is not None or image.lock is not None:
        raise UsageError(f"image {row_arch}: expected exactly ref, or repository and digest, and perhaps config_digest")
    reference = image.reference
    what = f"image {row_arch}: {image.reference}"
    named = reference.tag or str(reference.digest)
    facts = find_image(source, reference.repository, named, row_arch.rpartition("/")[2])
    if reference.digest not in (None, facts.digest):
        raise UsageError(f"{what}: is an index of images; give the platform's manifest digest {facts.digest}")
    if image.config_digest not in (None, facts.config_digest):
        raise UsageError(
            f"{what}: its config is {facts.config_digest}, not {image.config_digest}; leave config_digest out"
        )
    check_image(what, facts.labels, facts.architecture, row_arch)
    l4t.update(image_l4t(facts.labels))
    digests = {"digest": str(facts.digest), "config_digest": str(facts.config_digest)}
    return {"repository": reference.repository, **digests, "lock": None}


def _wheel_image(row_arch: str, image: DraftImage, repository: str, wheels: Wheels) -> dict[str, object]:
    """The entry of a row `process`; its wheel is noted in `wheels`.

    Raises UsageError when it is not all that the row needs, and nothing else.
    """
    if image.wheel is None or image.lock is None or image.reference or image.config_digest:
        raise UsageError(
            f"image {row_arch}: expected exactly wheel and lock; give them in the file or with --wheel and --lock"
        )
    layer = _wheel(image.wheel, row_arch)
    wheels.append((layer, image.wheel))
    lock = Digest.of_file(_readable(image.lock))
    return {"repository": repository, "digest": str(layer.digest), "config_digest": None, "lock": str(lock)}


def _wheel(path: Path, row_arch: str) -> Descriptor:
    with _readable(path).open("rb") as file:
        if file.read(4) != _ZIP_MAGIC or path.suffix != ".whl":
            raise UsageError(f"{path}: not a wheel; build one with `pip wheel` or `hatchling build`")
    annotations = {TITLE: path.name, ROW_ARCH: row_arch}
    return Descriptor(WHEEL, Digest.of_file(path), path.stat().st_size, annotations)


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; build it, or name another one")
    return path


def _check(release: Release, contract: Contract, l4t: set[str]) -> None:
    """Refuse now what every robot would refuse later."""
    if release.minimum_counter > release.counter:
        raise UsageError(
            f"release.minimum_counter: {release.minimum_counter} is above its own counter {release.counter}"
        )
    if contract.embodiment != release.compatibility.embodiment:
        raise IncompatibleError(
            f"release {release.name}: is for {release.compatibility.embodiment}, its model for {contract.embodiment}; "
            "choose another model"
        )
    for golden in contract.goldens:
        if release.recipe.precision not in golden.tolerance:
            known = ", ".join(sorted(golden.tolerance))
            raise IncompatibleError(
                f"release.engine.precision: {golden.path} of {contract.name} proves {known} only, not "
                f"{release.recipe.precision}"
            )
    rows = {row_arch.partition("/")[0] for row_arch in release.images}
    if unserved := sorted(set(release.compatibility.rows) - rows):
        raise UsageError(
            f"release.compatibility.rows: no image for {unserved[0]!r}; add an [[image]] or take the row away"
        )
    if unserved := sorted(set(release.compatibility.l4t) - l4t):
        raise IncompatibleError(
            f"release.compatibility.l4t: no image was made for L4T {unserved[0]}, only for "
            f"{', '.join(sorted(l4t)) or 'none'}; remove it"
        )


def _store(source: Source, repository: str, release: Release, envelope: bytes, wheels: Wheels) -> None:
    document = Descriptor.of(ENVELOPE, envelope, {TITLE: "release.dsse.json"})
    data = Manifest(ARTIFACT, EMPTY, (document, *(layer for layer, _ in wheels))).bytes()
    tags = (locator(release.digest), release.version)
    for tag in tags:
        has_version(source, repository, tag, Digest.of(data))  # refused before any byte is stored
    source.put_blob(repository, EMPTY, lambda: (EMPTY_BYTES,))
    source.put_blob(repository, document, lambda: (envelope,))
    for layer, path in wheels:
        source.put_blob(repository, layer, partial(file_pieces, path))
    for tag in tags:
        source.put_manifest(repository, data, tag)
