"""Making, finding, checking and fetching releases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry import keys, releases, releasing
from model_registry.core.digest import Digest
from model_registry.core.errors import (
    HomeportError,
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UntrustedError,
    UsageError,
)
from model_registry.core.layout import ReleaseFolder
from model_registry.core.release import PAYLOAD_TYPE, Release
from model_registry.manifests import EMPTY, Descriptor, Manifest
from model_registry.packing import pack
from model_registry.refs import Reference
from model_registry.releasing import Draft
from model_registry.sources import Source, open_source
from tests.fakes.images import put_image, put_list
from tests.fakes.model import make_model
from tests.fakes.recipe import make_key, make_recipe
from tests.fakes.schemas import check

PILOT = "releases/pilot"
ROW = "process/amd64"


class World:
    """A source with a model, and a trusted key."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder, folder / "registry"
        self.source: Source = open_source(f"oci:{self.registry}", writable=True)
        _, self.model = pack(make_model(folder / "m"), self.source)
        self.key = make_key(folder / "keys")
        self.keys = folder / "keys"

    def create(self, key: Path | None = None, **changes: object) -> Release:
        draft = Draft.load(make_recipe(self.folder / "recipe", **changes))
        return releasing.create(draft, self.source, keys.load(key or self.key))

    def read(self, text: str, trusted: Path | None = None) -> releases.Published:
        return releases.read(self.source, Reference.parse(text), trusted)

    def pull(self, digest: Digest, row: str = ROW, trusted: Path | None = None) -> int:
        return releases.pull(self.source, PILOT, digest, row, ReleaseFolder(self.folder / "out"), trusted or self.keys)

    def blob(self, digest: Digest) -> Path:
        return self.registry / "blobs/sha256" / digest.hex


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_release_pins_everything_by_digest(world: World) -> None:
    release = world.create()
    assert release.model == world.model
    assert release.images[ROW].digest == Digest.of_file(world.folder / "recipe/stack.whl")
    assert release.images[ROW].lock == Digest.of_file(world.folder / "recipe/robot.txt")


def test_the_document_keeps_to_its_schema(world: World) -> None:
    world.create()
    check(json.loads(world.read("pilot:1.0.0").payload), "release")


def with_state(world: World, lines: str) -> Release:
    path = make_recipe(world.folder / "recipe")
    path.write_text(f"{path.read_text()}[state]\n{lines}\n")
    return releasing.create(Draft.load(path), world.source, keys.load(world.key))


def test_what_a_release_leaves_and_who_can_read_that_is_in_its_document(world: World) -> None:
    release = with_state(world, "schema = 3\nreadable_from = 2")
    assert (release.state.schema, release.state.readable_from) == (3, 2)
    check(json.loads(world.read("pilot:1.0.0").payload), "release")


def test_a_release_that_leaves_nothing_says_nothing_of_it(world: World) -> None:
    assert world.create().state.schema == 0
    assert "state" not in json.loads(world.read("pilot:1.0.0").payload)


@pytest.mark.parametrize("lines", ["schema = 2\nreadable_from = 3", "schema = 0\nreadable_from = 0", "schema = 1"])
def test_state_that_its_own_release_could_not_read_is_refused(lines: str, world: World) -> None:
    with pytest.raises(UsageError, match=r"release\.state"):
        with_state(world, lines)


def test_a_release_is_found_by_version_and_by_its_own_digest(world: World) -> None:
    release = world.create()
    by_version = world.read("pilot:1.0.0", world.keys)
    assert by_version.release == release and by_version.verified
    assert world.read(f"pilot@{release.digest}", world.keys).release == release
    assert world.read(f"releases/pilot@{release.digest}").verified is False


def test_creating_it_again_changes_nothing(world: World) -> None:
    first, tags = world.create(), world.source.tags(PILOT)
    assert world.create() == first
    assert world.source.tags(PILOT) == tags
    assert len(tags) == 2


def test_a_version_is_never_given_twice(world: World) -> None:
    first = world.create()
    with pytest.raises(RefusedError, match="a version never changes"):
        world.create(counter=2)
    assert world.read("pilot:1.0.0").release == first


def test_signing_it_with_another_key_is_refused(world: World, tmp_path: Path) -> None:
    world.create()
    with pytest.raises(RefusedError):
        world.create(key=make_key(tmp_path / "others", "evil"))
    assert world.read("pilot:1.0.0", world.keys).verified


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"embodiment": "quadruped"}, IncompatibleError),
        ({"precision": "int8"}, IncompatibleError),
        ({"precision": "fp7"}, UsageError),
        ({"counter": 0}, UsageError),
        ({"version": "1"}, UsageError),
        ({"p99": "inf"}, UsageError),
        ({"p99": "2020-01-01"}, UsageError),
    ],
    ids=str,
)
def test_a_release_that_robots_would_refuse_is_not_made(
    changes: dict[str, object], error: type[HomeportError], world: World
) -> None:
    with pytest.raises(error):
        world.create(**changes)
    assert world.source.tags(PILOT) == ()


def test_an_unknown_model_is_told(world: World) -> None:
    draft = Draft.load(make_recipe(world.folder / "recipe")).changed(model="models/pilot:7.0.0")
    with pytest.raises(NotFoundError, match=r"models/pilot has 1\.0\.0"):
        releasing.create(draft, world.source, keys.load(world.key))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("row_arch", "row"),
        ('row_arch = "process/amd64"', 'row_arch = "cpu/amd64"'),
        ('wheel = "stack.whl"', ""),
        ('lock = "robot.txt"', 'lock = "none.txt"'),
        ('wheel = "stack.whl"', 'wheel = "robot.txt"'),
        ('rows = ["process"]', 'rows = ["process", "jp6"]'),
        ("counter = 1", "counter = 1\nminimum = 3"),
        ("minimum_counter = 0", "minimum_counter = 5"),
        ('ref = "models/pilot:1.0.0"', 'ref = "models/pilot"'),
        ("[engine]", "[motor]"),
        ("=", "=="),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(old: str, new: str, world: World) -> None:
    path = make_recipe(world.folder / "recipe")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(HomeportError) as caught:
        releasing.create(Draft.load(path), world.source, keys.load(world.key))
    assert "\n" not in str(caught.value)
    assert world.source.tags(PILOT) == ()


def with_image(world: World, lines: str, l4t: str = "[]", row: str = "cpu/arm64") -> Release:
    path = make_recipe(world.folder / "recipe")
    text = path.read_text().replace("l4t = []", f"l4t = {l4t}")
    path.write_text(f'{text}\n[[image]]\nrow_arch = "{row}"\n{lines}\n')
    return releasing.create(Draft.load(path), world.source, keys.load(world.key))


def test_a_container_row_is_pinned_by_both_digests(world: World) -> None:
    digest = put_image(world.source, "homeport/stack", "arm64", tag="1.0.0")
    release = with_image(world, 'ref = "homeport/stack:1.0.0"')
    image = release.images["cpu/arm64"]
    config = json.loads(world.source.manifest("homeport/stack", digest))["config"]["digest"]
    assert (image.repository, image.digest, str(image.config_digest)) == ("homeport/stack", digest, config)
    assert with_image(world, f'repository = "homeport/stack"\ndigest = "{digest}"') == release
    assert world.pull(release.digest, "cpu/arm64") > 0
    assert not (world.folder / "out/image.whl").exists()
    size = json.loads(world.source.manifest("homeport/stack", digest))["layers"][0]["size"]
    assert releases.image_bytes(world.source, ReleaseFolder(world.folder / "out"), "cpu/arm64") == size


def test_a_tag_of_an_index_is_resolved_and_the_digest_of_one_is_refused(world: World) -> None:
    digest = put_image(world.source, "homeport/stack", "arm64")
    index = put_list(world.source, "homeport/stack", "1.0.0", [("arm64", "linux", digest, {})])
    assert with_image(world, 'ref = "homeport/stack:1.0.0"').images["cpu/arm64"].digest == digest
    with pytest.raises(UsageError, match=f"give the platform's manifest digest {digest}"):
        with_image(world, f'ref = "homeport/stack@{index}"')


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('ref = "homeport/stack:2.0.0"', "not in oci"),
        (f'repository = "homeport/stack"\ndigest = "sha256:{"a" * 64}"', "not there"),
        (f'ref = "homeport/stack:1.0.0"\nconfig_digest = "sha256:{"b" * 64}"', "leave config_digest out"),
        ('ref = "homeport/stack:1.0.0"\nrepository = "homeport/stack"', "either ref or"),
        ('ref = "homeport/stack:1.0.0"\nwheel = "stack.whl"', "expected exactly ref"),
        ('ref = "homeport/stack:jp6"', "made for jp6/arm64, and cpu/arm64 is needed"),
        ('wheel = "stack.whl"', "expected exactly ref"),
    ],
)
def test_an_image_that_robots_could_not_run_is_refused(lines: str, words: str, world: World) -> None:
    put_image(world.source, "homeport/stack", "arm64", tag="1.0.0")
    put_image(world.source, "homeport/stack", "arm64", row="jp6", tag="jp6")
    with pytest.raises(HomeportError, match=words):
        with_image(world, lines)
    assert world.source.tags(PILOT) == ()


def test_an_l4t_that_no_image_was_made_for_is_refused(world: World) -> None:
    put_image(world.source, "homeport/stack", "arm64", tag="1.0.0")
    with pytest.raises(IncompatibleError, match=r"no image was made for L4T 36\.4\.3"):
        with_image(world, 'ref = "homeport/stack:1.0.0"', '["36.4.3"]')


def test_a_stranger_s_signature_is_refused(world: World, tmp_path: Path) -> None:
    release = world.create(key=make_key(tmp_path / "others", "evil"))
    with pytest.raises(UntrustedError):
        world.read("pilot:1.0.0", world.keys)
    with pytest.raises(UntrustedError):
        world.pull(release.digest)
    assert not (world.folder / "out").exists()


def test_verify_reads_every_byte(world: World) -> None:
    world.create()
    published = world.read("pilot:1.0.0", world.keys)
    assert releases.verify(world.source, published) > 300_000


@pytest.mark.parametrize("what", ["wheel", "weights"])
def test_verify_finds_a_flipped_byte_anywhere(what: str, world: World) -> None:
    release = world.create()
    digest = release.images[ROW].digest if what == "wheel" else Digest.of_file(world.folder / "m/policy.onnx")
    world.blob(digest).write_bytes(b"\0" + world.blob(digest).read_bytes()[1:])
    with pytest.raises(IntegrityError):
        releases.verify(world.source, world.read("pilot:1.0.0", world.keys))


def test_a_pull_brings_document_envelope_and_wheel(world: World) -> None:
    release = world.create()
    assert world.pull(release.digest) > 0
    out = world.folder / "out"
    assert sorted(path.name for path in out.iterdir()) == ["image.whl", "release.dsse.json", "release.json"]
    assert Digest.of_file(out / "release.json") == release.digest
    assert Digest.of_file(out / "image.whl") == release.images[ROW].digest


def test_an_unknown_release_is_not_found(world: World) -> None:
    world.create()
    with pytest.raises(NotFoundError, match="publish it there"):
        world.pull(Digest("0" * 64))


def test_a_row_that_is_not_in_it_is_refused(world: World) -> None:
    release = world.create()
    with pytest.raises(IncompatibleError, match="only process/amd64"):
        world.pull(release.digest, "jp6/arm64")
    assert not (world.folder / "out").exists()


def test_a_wheel_with_a_flipped_byte_is_refused(world: World) -> None:
    release = world.create()
    blob = world.blob(release.images[ROW].digest)
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])
    with pytest.raises(IntegrityError):
        world.pull(release.digest)
    assert list((world.folder / "out").iterdir()) == []


def publish(world: World, payload: bytes, tag: str) -> None:
    """A release artifact as an attacker with a leaked registry password would push it, under a signed document of
    another name.
    """
    envelope = keys.sign(PAYLOAD_TYPE, payload, keys.load(world.key))
    layer = Descriptor.of(releases.ENVELOPE, envelope)
    world.source.put_blob(PILOT, layer, lambda: (envelope,))
    world.source.put_manifest(PILOT, Manifest(releases.ARTIFACT, EMPTY, (layer,)).bytes(), tag)


def test_a_locator_that_leads_to_another_signed_release_is_refused(world: World) -> None:
    world.create()
    publish(world, world.read("pilot:1.0.0").payload, releases.locator(Digest("d" * 64)))
    with pytest.raises(UntrustedError, match="tampered"):
        world.pull(Digest("d" * 64))


def test_a_version_that_leads_to_another_signed_release_is_refused(world: World) -> None:
    world.create()
    publish(world, world.read("pilot:1.0.0").payload, "2.0.0")
    with pytest.raises(UntrustedError, match="tampered"):
        world.read("pilot:2.0.0", world.keys)


def test_an_artifact_without_the_signed_wheel_is_told(world: World) -> None:
    release = world.create()
    payload = world.read("pilot:1.0.0").payload.replace(b'"1.0.0"', b'"1.0.1"', 1)
    digest = Digest.of(payload)
    publish(world, payload, releases.locator(digest))
    assert digest != release.digest
    with pytest.raises(HomeportError, match="publish the release again"):
        world.pull(digest)


def test_a_model_is_not_taken_for_a_release(world: World) -> None:
    world.source.put_manifest(PILOT, world.source.manifest("models/pilot", world.model), "1.0.0")
    with pytest.raises(UsageError, match="not a release"):
        world.read("pilot:1.0.0")
