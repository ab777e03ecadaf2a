"""OCI image manifests: the list of blobs that makes an artifact.

The same content gives the same bytes on every machine: canonical JSON, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, dump, parse
from model_registry.core.errors import UsageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
KINDS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json", *INDEXES)
MAX_MANIFEST_BYTES = 4 << 20
MAX_LAYERS = 4096
FILE_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Descriptor:
    """One blob: what it is, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    @classmethod
    def of(cls, media_type: str, data: bytes, annotations: dict[str, str] | None = None) -> Descriptor:
        return cls(media_type, Digest.of(data), len(data), annotations or {})

    @classmethod
    def read(cls, reader: Reader) -> Descriptor:
        artifact_type = reader.text("artifactType") if reader.has("artifactType") else ""
        kind = reader.text("mediaType")
        digest = reader.digest("digest")
        size = reader.integer("size")
        return cls(kind, digest, size, _annotations(reader), artifact_type)

    def fields(self) -> dict[str, object]:
        base: dict[str, object] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        optional = {"annotations": self.annotations, "artifactType": self.artifact_type}
        return {**base, **{key: value for key, value in optional.items() if value}}


def _annotations(reader: Reader) -> dict[str, str]:
    return reader.table("annotations", as_text) if reader.has("annotations") else {}


def media_type_of(data: bytes, what: str) -> str:
    """What a manifest or index says it is; the oldest writers of OCI documents leave it out. Raises UsageError."""
    reader = Reader(parse(data, what, MAX_MANIFEST_BYTES), what)
    if reader.has("mediaType"):
        return reader.text("mediaType", KINDS)
    return INDEX if reader.has("manifests") else MANIFEST


EMPTY_BYTES = b"{}"
EMPTY = Descriptor.of("application/vnd.oci.empty.v1+json", EMPTY_BYTES)


@dataclass(frozen=True)
class Manifest:
    """An OCI 1.1 artifact manifest; `subject` is the manifest that it says something about."""

    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None

    @classmethod
    def parse(cls, data: bytes, what: str) -> Manifest:
        """Keys that are not known are passed over, as the image spec asks of readers.

        Raises UsageError naming the field.
        """
        reader = Reader(parse(data, what, MAX_MANIFEST_BYTES), what)
        if (version := reader.integer("schemaVersion")) != 2:
            raise UsageError(f"{what}.schemaVersion: expected 2, got {version}")
        if reader.has("mediaType"):
            reader.text("mediaType", (MANIFEST,))
        config = Descriptor.read(reader.child("config"))
        manifest = cls(
            # Before OCI 1.1, and where a program still writes like that, the config's type is the artifact's.
            reader.text_or("artifactType", config.media_type),
            config,
            reader.objects("layers", Descriptor.read),
            _annotations(reader),
            Descriptor.read(reader.child("subject")) if reader.has("subject") else None,
        )
        if not 0 < len(manifest.layers) <= MAX_LAYERS:
            raise UsageError(f"{what}.layers: expected 1 to {MAX_LAYERS}, got {len(manifest.layers)}")
        return manifest

    def bytes(self) -> bytes:
        """The canonical bytes; their sha256 is the artifact's digest."""
        fields: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.artifact_type,
            "config": self.config.fields(),
            "layers": [layer.fields() for layer in self.layers],
        }
        if self.annotations:
            fields["annotations"] = self.annotations
        if self.subject is not None:
            fields["subject"] = self.subject.fields()
        return dump(fields)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each digest once."""
        return tuple({blob.digest: blob for blob in (self.config, *self.layers)}.values())
