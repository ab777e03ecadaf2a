"""Images in a source: found by architecture, published as an index, with documents attached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry.core.errors import IncompatibleError, NotFoundError, RefusedError, UsageError
from model_registry.images import ImageFacts, find_image, put_index, put_referrer, referrers
from model_registry.manifests import MANIFEST, Manifest
from model_registry.sources import Source, open_source, read_blob
from tests.fakes.images import DOCKER, put_image, put_list

REPOSITORY = "homeport/stack"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return open_source(f"oci:{tmp_path / 'layout'}", writable=True)


def both(source: Source) -> tuple[ImageFacts, ImageFacts]:
    for arch in ("amd64", "arm64"):
        put_image(source, REPOSITORY, arch)
    amd64, arm64 = (find_image(source, REPOSITORY, f"cpu-{arch}", arch) for arch in ("amd64", "arm64"))
    return amd64, arm64


@pytest.mark.parametrize("kind", [MANIFEST, DOCKER], ids=["OCI", "Docker"])
def test_an_image_is_found_by_tag_and_by_digest(source: Source, kind: str) -> None:
    digest = put_image(source, REPOSITORY, "amd64", kind)
    facts = find_image(source, REPOSITORY, "cpu-amd64", "amd64")
    assert facts == find_image(source, REPOSITORY, str(digest), "amd64")
    config = json.loads(source.manifest(REPOSITORY, digest))["config"]
    assert (facts.digest, str(facts.config_digest), facts.index_digest) == (digest, config["digest"], None)
    assert (facts.architecture, facts.labels) == ("amd64", {"dev.homeport.row": "cpu"})
    assert facts.compressed_bytes == len("layer of cpu amd64")


def test_an_image_for_another_architecture_is_incompatible(source: Source) -> None:
    put_image(source, REPOSITORY, "arm64")
    with pytest.raises(IncompatibleError, match="is for arm64, not for amd64"):
        find_image(source, REPOSITORY, "cpu-arm64", "amd64")


def test_an_unknown_tag_names_the_tags_there_are(source: Source) -> None:
    put_image(source, REPOSITORY, "amd64")
    with pytest.raises(NotFoundError, match="homeport/stack has cpu-amd64"):
        find_image(source, REPOSITORY, "0.9.0", "amd64")


def test_an_index_leads_to_the_image_of_each_architecture(source: Source) -> None:
    amd64, arm64 = both(source)
    index = put_index(source, REPOSITORY, [arm64, amd64], "0.1.0-cpu")
    found = find_image(source, REPOSITORY, "0.1.0-cpu", "arm64")
    assert (found.digest, found.config_digest, found.index_digest) == (arm64.digest, arm64.config_digest, index)
    assert find_image(source, REPOSITORY, str(index), "amd64").digest == amd64.digest
    with pytest.raises(IncompatibleError, match="no image for riscv64, only amd64, arm64"):
        find_image(source, REPOSITORY, "0.1.0-cpu", "riscv64")


def test_an_index_has_the_same_bytes_in_any_order_and_is_published_again_for_nothing(source: Source) -> None:
    amd64, arm64 = both(source)
    assert put_index(source, REPOSITORY, [amd64, arm64], "1") == put_index(source, REPOSITORY, [arm64, amd64], "1")


def test_a_published_index_never_changes(source: Source) -> None:
    amd64, arm64 = both(source)
    put_index(source, REPOSITORY, [amd64], "0.1.0-cpu")
    with pytest.raises(RefusedError, match="a version never changes: raise the version"):
        put_index(source, REPOSITORY, [amd64, arm64], "0.1.0-cpu")


def test_an_index_needs_one_pushed_image_per_architecture(source: Source, tmp_path: Path) -> None:
    amd64, _ = both(source)
    for wrong in ([], [amd64, amd64]):
        with pytest.raises(UsageError, match="one image per architecture"):
            put_index(source, REPOSITORY, wrong, "1")
    with pytest.raises(NotFoundError, match="push it"):
        put_index(open_source(f"oci:{tmp_path / 'other'}", writable=True), REPOSITORY, [amd64], "1")


def test_attestations_and_other_systems_in_a_list_are_passed_over(source: Source) -> None:
    image = put_image(source, REPOSITORY, "amd64", DOCKER)
    other = put_image(source, REPOSITORY, "amd64", DOCKER, row="other")
    attests = {"vnd.docker.reference.type": "attestation-manifest"}
    put_list(
        source,
        REPOSITORY,
        "l",
        [("amd64", "linux", other, attests), ("amd64", "windows", other, {}), ("amd64", "linux", image, {})],
    )
    assert find_image(source, REPOSITORY, "l", "amd64").digest == image


def test_an_index_in_an_index_is_refused(source: Source) -> None:
    inner = put_index(source, REPOSITORY, both(source), "inner")
    put_list(source, REPOSITORY, "outer", [("amd64", "linux", inner, {})])
    with pytest.raises(UsageError, match="index in an index"):
        find_image(source, REPOSITORY, "outer", "amd64")


def test_documents_are_attached_once_and_found_again(source: Source) -> None:
    digest = put_image(source, REPOSITORY, "amd64")
    assert referrers(source, REPOSITORY, digest) == ()
    first = put_referrer(source, REPOSITORY, digest, "application/spdx+json", b'{"spdx":1}')
    assert put_referrer(source, REPOSITORY, digest, "application/spdx+json", b'{"spdx":1}') == first
    second = put_referrer(source, REPOSITORY, digest, "text/plain", b"notes")
    found = {each.artifact_type: each for each in referrers(source, REPOSITORY, digest)}
    assert {kind: each.digest for kind, each in found.items()} == {"application/spdx+json": first, "text/plain": second}
    manifest = Manifest.parse(source.manifest(REPOSITORY, first), "sbom")
    assert manifest.subject is not None and manifest.subject.digest == digest
    assert read_blob(source, REPOSITORY, manifest.layers[0], 100) == b'{"spdx":1}'
