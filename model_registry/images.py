"""Container images in a source: find the one for an architecture, publish an index over several, attach documents such
as an SBOM.

Images are pushed and pulled by container engines; this reads and writes only what engines of every age leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, dump, parse
from model_registry.core.errors import IncompatibleError, UsageError
from model_registry.manifests import (
    EMPTY,
    EMPTY_BYTES,
    INDEX,
    INDEXES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Manifest,
    media_type_of,
)
from model_registry.refs import Reference
from model_registry.sources import Source, read_blob, resolve

SBOM = "application/spdx+json"
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True)
class ImageFacts:
    """One platform's image. `digest` is its manifest's; `index_digest` that of the index it was found in."""

    digest: Digest
    config_digest: Digest
    architecture: str
    labels: dict[str, str]
    compressed_bytes: int
    index_digest: Digest | None = None


def find_image(source: Source, repository: str, reference: str, arch: str) -> ImageFacts:
    """The image that a tag or `sha256:…` names on `arch` (amd64, arm64).

    Raises NotFoundError with the tags there are, IncompatibleError with the architectures there are.
    """
    text = f"{repository}{'@' if reference.startswith('sha256:') else ':'}{reference}"
    digest = resolve(source, Reference.parse(text))
    index = None
    data = source.manifest(repository, digest)
    if media_type_of(data, text) in INDEXES:
        index = digest
        digest = _of_platform(data, text, arch)
        data = source.manifest(repository, digest)
    if (kind := media_type_of(data, text)) in INDEXES:
        raise UsageError(f"{text}: {digest} is an index in an index ({kind}); name an image")
    reader = Reader(parse(data, text, MAX_MANIFEST_BYTES), text)
    config = Descriptor.read(reader.child("config"))
    layers = reader.objects("layers", Descriptor.read)
    found, labels = _read_config(source, repository, config)
    if found != arch:
        raise IncompatibleError(f"{text}: is for {found}, not for {arch}; name an image for {arch}")
    return ImageFacts(digest, config.digest, arch, labels, sum(layer.size for layer in layers), index)


def _of_platform(data: bytes, what: str, arch: str) -> Digest:
    """The manifest for `arch` in an index; build attestations, which carry a platform too, are passed over."""
    found: dict[str, Digest] = {}
    for entry in _entries(data, what):
        attests = entry.has("annotations") and _ATTESTATION in entry.mapping("annotations")
        if entry.has("platform") and not attests and (platform := entry.child("platform")).text("os") == "linux":
            found.setdefault(platform.text("architecture"), entry.digest("digest"))
    if arch not in found:
        known = ", ".join(sorted(found)) or "no image at all"
        raise IncompatibleError(f"{what}: has no image for {arch}, only {known}; build and push one for {arch}")
    return found[arch]


def _entries(data: bytes, what: str) -> tuple[Reader, ...]:
    return Reader(parse(data, what, MAX_MANIFEST_BYTES), what).objects("manifests", lambda entry: entry)


def _read_config(source: Source, repository: str, config: Descriptor) -> tuple[str, dict[str, str]]:
    """Architecture and labels of an image's config."""
    what = f"{repository}: config {config.digest.short}"
    data = read_blob(source, repository, config, MAX_MANIFEST_BYTES)
    reader = Reader(parse(data, what, MAX_MANIFEST_BYTES), what)
    settings = reader.child("config") if reader.has("config") else Reader({}, what)
    return reader.text("architecture"), settings.table("Labels", as_text) if settings.has("Labels") else {}


def put_index(source: Source, repository: str, images: Sequence[ImageFacts], tag: str) -> Digest:
    """Publish one name for images that are already in `source`; the same images give the same bytes.

    Raises UsageError for two images of one architecture, NotFoundError for one that was not pushed, RefusedError when
    `tag` names something else.
    """
    by_arch = {image.architecture: image for image in images}
    if not images or len(by_arch) != len(images):
        raise UsageError(
            f"{repository}:{tag}: expected one image per architecture, got {len(images)} for {len(by_arch)}"
        )
    entries = []
    for arch, image in sorted(by_arch.items()):
        manifest = _describe(source, repository, image.digest)
        entries.append({**manifest.fields(), "platform": {"architecture": arch, "os": "linux"}})
    data = _index(entries)
    source.put_manifest(repository, data, tag)
    return Digest.of(data)


def put_referrer(source: Source, repository: str, subject: Digest, artifact_type: str, data: bytes) -> Digest:
    """Attach a document, such as an SBOM, to a manifest; doing it again changes nothing.

    Registries older than OCI 1.1 get a list under a tag.
    """
    layer = Descriptor.of(artifact_type, data)
    source.put_blob(repository, layer, lambda: (data,))
    source.put_blob(repository, EMPTY, lambda: (EMPTY_BYTES,))
    manifest = Manifest(artifact_type, EMPTY, (layer,), subject=_describe(source, repository, subject)).bytes()
    digest = Digest.of(manifest)
    source.place_manifest(repository, manifest, str(digest))
    if source.known_referrers(repository, subject) is None:
        entry = Descriptor(media_type_of(manifest, repository), digest, len(manifest), {}, artifact_type)
        entries = {each.digest: each for each in (*referrers(source, repository, subject), entry)}
        fields = [each.fields() for _, each in sorted(entries.items())]
        source.place_manifest(repository, _index(fields), _referrers_tag(subject))
    return digest


def referrers(source: Source, repository: str, subject: Digest) -> tuple[Descriptor, ...]:
    """The manifests that say something about this one; `artifact_type` tells what."""
    what = f"{repository}: referrers of {subject.short}"
    data = source.known_referrers(repository, subject)
    if data is None:
        listed = source.find(repository, _referrers_tag(subject))
        data = source.manifest(repository, listed) if listed is not None else _index([])
    return tuple(Descriptor.read(entry) for entry in _entries(data, what))


def _referrers_tag(subject: Digest) -> str:
    return f"sha256-{subject.hex}"


def _describe(source: Source, repository: str, digest: Digest) -> Descriptor:
    data = source.manifest(repository, digest)
    return Descriptor.of(media_type_of(data, f"{repository}@{digest}"), data)


def _index(entries: list[dict[str, object]]) -> bytes:
    return dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
