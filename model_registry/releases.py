"""Find, read and check published releases. A release is named by the sha256 of its document; tags only help to find it, and are never trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, NotFoundError, RefusedError, UntrustedError, UsageError
from model_registry.core.files import Files
from model_registry.core.release import PAYLOAD_TYPE, Release
from model_registry.manifests import Descriptor, Manifest
from model_registry.models import files_of
from model_registry.refs import Reference
from model_registry.sources import Progress, Source, no_progress, read_blob, resolve, save_blob

ARTIFACT = PAYLOAD_TYPE
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
WHEEL = "application/vnd.homeport.wheel.v1"
ROW_ARCH = "homeport.row-arch"
FOLDER = "releases/"
LOCATOR = "release-"
ENVELOPE_NAME = "release.dsse.json"
DOCUMENT_NAME = "release.json"
IMAGE_NAME = "image.whl"


@dataclass(frozen=True)
class Published:
    """A release as it lies in a source. `verified` says whether a trusted key signed it."""

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
            f"release {reference.digest} is not in {source.address} under {repository}; publish it there, or name another source"
        )
    what = f"{repository}:{tag}"
    manifest = Manifest.parse(source.manifest(repository, resolve(source, Reference(repository, tag, None))), what)
    if manifest.artifact_type != ARTIFACT:
        raise UsageError(f"{what}: is {manifest.artifact_type}, not a release; name a release")
    layers = [layer for layer in manifest.layers if layer.media_type == ENVELOPE]
    if len(layers) != 1:
        raise RefusedError(f"{what}: carries {len(layers)} signed documents, expected one; publish it again")
    envelope = read_blob(source, repository, layers[0], dsse.MAX_ENVELOPE_BYTES)
    payload, signatures = check_envelope(envelope, keys, what)
    release = Release.parse(payload)
    _check_named(release, reference, what)
    signers = tuple(identity for identity, _ in signatures)
    return Published(release, envelope, payload, manifest, repository, signers, keys is not None)


def check_envelope(envelope: bytes, keys: Path | None, what: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Payload and signatures; with `keys`, only when one of them signed it. Raises UntrustedError."""
    payload, signatures = dsse.read_payload(envelope, PAYLOAD_TYPE, what)
    if keys is not None:
        payload = dsse.verify(envelope, PAYLOAD_TYPE, dsse.trusted_keys(keys), what)
    return payload, signatures


def _check_named(release: Release, reference: Reference, what: str) -> None:
    """What a tag leads to must be what the signed document says it is."""
    if reference.digest is not None and release.digest != reference.digest:
        raise UntrustedError(
            f"{what}: holds the release {release.digest}; the source was tampered with, use another one"
        )
    if reference.digest is None and release.version != reference.tag:
        raise UntrustedError(f"{what}: holds version {release.version}; the source was tampered with, use another one")
    if repository_of(release.name) != repository_of(reference.repository):
        raise UntrustedError(
            f"{what}: holds a release of {release.name}; the source was tampered with, use another one"
        )


def wheel_layer(published: Published, row_arch: str) -> Descriptor:
    """The wheel of a row `process`. Raises NotFoundError when the artifact does not carry what the signed document names."""
    digest = published.release.images[row_arch].digest
    for layer in published.manifest.layers:
        if layer.media_type == WHEEL and layer.digest == digest:
            return layer
    raise NotFoundError(
        f"{published.repository}: the wheel {digest} of {row_arch} is missing; publish the release again"
    )


def verify(source: Source, published: Published, progress: Progress = no_progress) -> int:
    """Re-hash every blob that a release leads to; returns the number of bytes read. Raises HomeportError."""
    release, before = published.release, source.bytes_fetched
    work = [(published.repository, blob) for blob in published.manifest.blobs]
    for row_arch in release.images:
        if row_arch.startswith("process/"):
            wheel_layer(published, row_arch)
    data = source.manifest(release.model_repository, release.model)
    model = Manifest.parse(data, f"{release.model_repository}@{release.model}")
    files_of(model, release.model_repository)
    for repository, blob in [*work, *((release.model_repository, blob) for blob in model.blobs)]:
        for piece in source.stream(repository, blob):
            progress(len(piece))
    return source.bytes_fetched - before


def pull(
    source: Source, repository: str, digest: Digest, row_arch: str, folder: Path, keys: Path | None,
    progress: Progress = no_progress,
) -> int:  # fmt: skip
    """Bring a release to `folder`: `release.dsse.json`, the wheel of a row `process`, and last `release.json`. Returns bytes fetched.

    Raises NotFoundError for an unknown release, UntrustedError for a wrong signature, IncompatibleError when `row_arch` is not in it.
    """
    before = source.bytes_fetched
    published = read(source, Reference(repository, None, digest), keys)
    release, files = published.release, Files()
    if row_arch not in release.images:
        known = ", ".join(sorted(release.images))
        raise IncompatibleError(
            f"release {release.name} {release.version} has no image for {row_arch}, only {known}; publish one with it"
        )
    wheel = wheel_layer(published, row_arch) if row_arch.startswith("process/") else None
    files.make_folder(folder)
    if wheel is not None:
        save_blob(source, published.repository, wheel, folder / IMAGE_NAME, progress)
    files.write(folder / ENVELOPE_NAME, published.envelope)
    files.write(folder / DOCUMENT_NAME, published.payload)
    return source.bytes_fetched - before


def is_there(folder: Path, digest: Digest, row_arch: str, keys: Path | None) -> bool:
    """Whether an earlier pull already brought everything, whole and signed."""
    try:
        document, envelope = (folder / DOCUMENT_NAME).read_bytes(), (folder / ENVELOPE_NAME).read_bytes()
        payload, _ = check_envelope(envelope, keys, str(folder / ENVELOPE_NAME))
        if Digest.of(document) != digest or payload != document:
            return False
        image = Release.parse(document).images.get(row_arch)
        if image is None:
            return False
        return not row_arch.startswith("process/") or Digest.of_file(folder / IMAGE_NAME) == image.digest
    except (OSError, UsageError, UntrustedError):
        return False
