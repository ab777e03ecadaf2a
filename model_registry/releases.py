"""Find, read and check published releases.

A release is named by the sha256 of its document; tags only help to find it, and are never trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, NotFoundError, RefusedError, UntrustedError, UsageError
from model_registry.core.files import Files
from model_registry.core.layout import ReleaseFolder
from model_registry.core.release import PAYLOAD_TYPE, Release
from model_registry.core.trust import Trust
from model_registry.images import find_image
from model_registry.manifests import Descriptor, Manifest
from model_registry.models import files_of
from model_registry.refs import Reference
from model_registry.sources import Progress, Source, check_blobs, no_progress, read_blob, resolve, save_blob

ARTIFACT = PAYLOAD_TYPE
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
WHEEL = "application/vnd.homeport.wheel.v1"
ROW_ARCH = "homeport.row-arch"
FOLDER = "releases/"
PROCESS = "process/"
LOCATOR = "release-"


@dataclass(frozen=True)
class Published:
    """A release as it lies in a source.

    `signed_by` names the key that verified it, or the claimed ones when not `verified`.
    """

    release: Release
    envelope: bytes
    payload: bytes
    manifest: Manifest
    repository: str
    signed_by: tuple[str, ...]
    verified: bool


def repository_of(name: str) -> str:
    """`pilot` and `releases/pilot` both mean the repository `releases/pilot`."""
    return name if name.startswith(FOLDER) else FOLDER + name


def locator(release: Digest) -> str:
    """The tag under which a release is found by its own digest."""
    return LOCATOR + release.hex


def read(source: Source, reference: Reference, keys: Path | None) -> Published:
    """Fetch a release by version or by release digest and check its signature, when `keys` is given.

    Raises NotFoundError when there is none, UntrustedError or IntegrityError when it is not what was named.
    """
    repository = repository_of(reference.repository)
    tag = reference.tag if reference.digest is None else locator(reference.digest)
    if reference.digest is not None and source.find(repository, str(tag)) is None:
        raise NotFoundError(
            f"release {reference.digest} is not in {source.address} under {repository}; publish it there, or name "
            "another source"
        )
    what = f"{repository}:{tag}"
    manifest = Manifest.parse(source.manifest(repository, resolve(source, Reference(repository, tag, None))), what)
    if manifest.artifact_type != ARTIFACT:
        raise UsageError(f"{what}: is {manifest.artifact_type}, not a release; name a release")
    layers = [layer for layer in manifest.layers if layer.media_type == ENVELOPE]
    if len(layers) != 1:
        raise RefusedError(f"{what}: carries {len(layers)} signed documents, expected one; publish it again")
    envelope = read_blob(source, repository, layers[0], dsse.MAX_ENVELOPE_BYTES)
    payload, signers = check_envelope(envelope, keys, what)
    release = Release.parse(payload)
    _check_named(release, reference, what)
    return Published(release, envelope, payload, manifest, repository, signers, keys is not None)


def check_envelope(envelope: bytes, keys: Path | None, what: str) -> tuple[bytes, tuple[str, ...]]:
    """Payload and signers' key ids; with the folder `keys` only the trusted ones that signed it. Raises UntrustedError.

    Retired keys and trust documents count as on a robot where the folder has them (Trust.of_folder).
    """
    if keys is None:
        payload, signatures = dsse.read_payload(envelope, PAYLOAD_TYPE, what)
        return payload, tuple(identity for identity, _ in signatures)
    payload, signers = Trust.of_folder(keys).signed(envelope, PAYLOAD_TYPE, what)
    return payload, tuple(key.hex for key in signers)


def _check_named(release: Release, reference: Reference, what: str) -> None:
    """What a tag leads to must be what the signed document says it is."""
    if reference.digest is not None and release.digest != reference.digest:
        found = f"the release {release.digest}"
    elif reference.digest is None and release.version != reference.tag:
        found = f"version {release.version}"
    elif repository_of(release.name) != repository_of(reference.repository):
        found = f"a release of {release.name}"
    else:
        return
    raise UntrustedError(f"{what}: holds {found}; the source was tampered with, use another one")


def wheel_layer(published: Published, row_arch: str) -> Descriptor:
    """The wheel of a row `process`.

    Raises NotFoundError when the artifact does not carry what the signed document names.
    """
    digest = published.release.images[row_arch].digest
    for layer in published.manifest.layers:
        if layer.media_type == WHEEL and layer.digest == digest:
            return layer
    raise NotFoundError(
        f"{published.repository}: the wheel {digest} of {row_arch} is missing; publish the release again"
    )


def verify(source: Source, published: Published, progress: Progress = no_progress) -> int:
    """Re-hash every blob that a release leads to; returns the number of bytes read. Raises HomeportError."""
    release = published.release
    before = source.bytes_fetched
    for row_arch in release.images:
        if row_arch.startswith(PROCESS):
            wheel_layer(published, row_arch)
    data = source.manifest(release.model_repository, release.model)
    model = Manifest.parse(data, f"{release.model_repository}@{release.model}")
    files_of(model, release.model_repository)
    check_blobs(source, published.repository, published.manifest.blobs, progress)
    check_blobs(source, release.model_repository, model.blobs, progress)
    return source.bytes_fetched - before


def pull(
    source: Source, repository: str, digest: Digest, row_arch: str, folder: ReleaseFolder, keys: Path | None,
    progress: Progress = no_progress,
) -> int:  # fmt: skip
    """Bring a release to `folder`: `release.dsse.json`, the wheel of a row `process`, and last `release.json`.

    Returns bytes fetched.

    Raises NotFoundError for an unknown release, UntrustedError for a wrong signature, IncompatibleError when `row_arch`
    is not in it.
    """
    before = source.bytes_fetched
    published = read(source, Reference(repository, None, digest), keys)
    release = published.release
    files = Files()
    if row_arch not in release.images:
        known = ", ".join(sorted(release.images))
        raise IncompatibleError(
            f"release {release.name} {release.version} has no image for {row_arch}, only {known}; publish one with it"
        )
    wheel = wheel_layer(published, row_arch) if row_arch.startswith(PROCESS) else None
    files.make_folder(folder.path)
    if wheel is not None:
        save_blob(source, published.repository, wheel, folder.wheel, progress)
    files.write(folder.envelope, published.envelope)
    files.write(folder.document, published.payload)
    return source.bytes_fetched - before


def image_bytes(source: Source, folder: ReleaseFolder, row_arch: str) -> int:
    """The compressed bytes of a pulled release's container image, which a container engine fetches."""
    image = Release.parse(folder.document.read_bytes()).images[row_arch]
    return find_image(source, image.repository, str(image.digest), row_arch.rpartition("/")[2]).compressed_bytes


def model_bytes(source: Source, folder: ReleaseFolder) -> int:
    """The bytes of a pulled release's model, which is pulled next."""
    release = Release.parse(folder.document.read_bytes())
    what = f"{release.model_repository}@{release.model}"
    manifest = Manifest.parse(source.manifest(release.model_repository, release.model), what)
    return sum(layer.size for layer in manifest.layers)


def is_there(folder: ReleaseFolder, digest: Digest, row_arch: str, keys: Path | None) -> bool:
    """Whether an earlier pull already brought everything, whole and signed."""
    try:
        payload, _ = check_envelope(folder.envelope.read_bytes(), keys, str(folder.envelope))
        if Digest.of(payload) != digest or folder.document.read_bytes() != payload:
            return False
        image = Release.parse(payload).images[row_arch]
        return not row_arch.startswith(PROCESS) or Digest.of_file(folder.wheel) == image.digest
    except (KeyError, OSError, UsageError, UntrustedError):
        return False
