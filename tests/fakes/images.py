"""Small container images as engines push them: one layer, a config with labels, a manifest of either family."""

from __future__ import annotations

from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.manifests import MANIFEST, Descriptor
from model_registry.sources import Source

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def put_image(
    source: Source, repository: str, arch: str, kind: str = MANIFEST, row: str = "cpu", tag: str = ""
) -> Digest:
    """Push an image for `arch`; its tag is `<row>-<arch>` unless given."""
    family = "vnd.docker.image.rootfs.diff.tar.gzip" if kind == DOCKER else "vnd.oci.image.layer.v1.tar+gzip"
    config_kind = "vnd.docker.container.image.v1+json" if kind == DOCKER else "vnd.oci.image.config.v1+json"
    layer_data = f"layer of {row} {arch}".encode()
    config_data = dump({"architecture": arch, "os": "linux", "config": {"Labels": {"dev.homeport.row": row}}})
    layer = Descriptor.of(f"application/{family}", layer_data)
    config = Descriptor.of(f"application/{config_kind}", config_data)
    for blob, data in ((layer, layer_data), (config, config_data)):
        source.put_blob(repository, blob, lambda data=data: (data,))
    fields = {"schemaVersion": 2, "mediaType": kind, "config": config.fields(), "layers": [layer.fields()]}
    manifest = dump(fields)
    source.put_manifest(repository, manifest, tag or f"{row}-{arch}")
    return Digest.of(manifest)


def put_list(
    source: Source, repository: str, tag: str, entries: list[tuple[str, str, Digest, dict[str, str]]]
) -> Digest:
    """A Docker manifest list of (architecture, os, manifest, annotations), as buildx writes it."""
    manifests = []
    for arch, system, digest, notes in entries:
        described = Descriptor(DOCKER, digest, len(source.manifest(repository, digest)), notes)
        manifests.append({**described.fields(), "platform": {"architecture": arch, "os": system}})
    data = dump({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": manifests})
    source.put_manifest(repository, data, tag)
    return Digest.of(data)
