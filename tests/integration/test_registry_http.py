"""Models and releases over real HTTP, and what happens when the registry or the network misbehaves."""

from __future__ import annotations

import base64
import datetime
import io
import ipaddress
import os
import re
import shutil
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry import keys, releases, releasing
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IntegrityError, NotFoundError, RefusedError, UntrustedError
from model_registry.core.layout import ReleaseFolder
from model_registry.images import SBOM, find_image, put_index, put_referrer, referrers
from model_registry.inspecting import inspect
from model_registry.manifests import MANIFEST, Manifest
from model_registry.packing import copy, pack
from model_registry.refs import Reference
from model_registry.releasing import Draft
from model_registry.sources import Source, open_source
from model_registry.sources.http import TransferError
from model_registry.store import PullResult, check_model, pull_model
from tests.fakes.images import DOCKER, put_image, put_list
from tests.fakes.model import NAME, make_model
from tests.fakes.recipe import make_key, make_recipe
from tests.fakes.registry import FakeRegistry, know_nothing
from tests.testbed.engine import answering


class World:
    """A fake registry that holds one model."""

    def __init__(self, folder: Path, registry: FakeRegistry) -> None:
        self.folder, self.registry = folder, registry
        self.model = make_model(folder / "m", size=3_000_000)
        self.layout = open_source(f"oci:{folder / 'layout'}", writable=True)
        _, self.digest = pack(self.model, self.layout)

    def push(self) -> None:
        copy(self.layout, open_source(self.registry.url), NAME, self.digest, "1.0.0")
        self.registry.requests.clear()
        self.registry.authorizations.clear()

    def pull(self, url: str | None = None) -> PullResult:
        source = open_source(url or self.registry.url)
        return pull_model(source, NAME, self.digest, self.folder / "models")

    def weights(self) -> str:
        return str(Digest.of_file(self.model / "policy.onnx"))

    def nothing_is_taken(self) -> bool:
        """What did not arrive whole lies in hidden folders, under no name that a reader looks for."""
        return all(path.name.startswith(".") for path in (self.folder / "models").iterdir())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    know_nothing(monkeypatch, tmp_path / "docker")
    monkeypatch.setenv("HOMEPORT_LINK_PATIENCE", "2.0")
    with FakeRegistry() as registry:
        yield World(tmp_path, registry)


def test_a_model_goes_there_and_back_unchanged(world: World) -> None:
    world.push()
    result = world.pull()
    check_model(result.path, world.digest)
    assert result.changed
    assert result.bytes_fetched == world.registry.bytes_sent()


def test_pulling_again_asks_for_nothing(world: World) -> None:
    world.push()
    world.pull()
    world.registry.requests.clear()
    assert world.pull().bytes_fetched == 0
    assert world.registry.requests == []


def test_pushing_again_sends_no_blob(world: World) -> None:
    world.push()
    world.push()
    assert not [path for method, path, _, _ in world.registry.requests if method == "PUT"]


def test_a_tag_is_not_overwritten(world: World) -> None:
    world.push()
    other = open_source(f"oci:{world.folder / 'other'}", writable=True)
    _, digest = pack(make_model(world.folder / "n", seed=9), other)
    with pytest.raises(RefusedError, match="a version never changes"):
        copy(other, open_source(world.registry.url), NAME, digest, "1.0.0")
    assert world.registry.tags[NAME, "1.0.0"] == str(world.digest)


def test_a_flipped_byte_on_the_way_leaves_nothing_behind(world: World) -> None:
    world.push()
    world.registry.faults.flip = world.weights()
    with pytest.raises(IntegrityError, match="damaged or was replaced"):
        world.pull()
    assert world.nothing_is_taken()


def test_a_manifest_that_was_replaced_is_refused(world: World) -> None:
    world.push()
    world.registry.faults.answer_manifests_with = b'{"schemaVersion":2}'
    with pytest.raises(IntegrityError):
        world.pull()
    assert world.nothing_is_taken()


def test_an_error_of_the_server_is_tried_again(world: World) -> None:
    world.push()
    world.registry.faults.errors_500 = 2
    check_model(world.pull().path, world.digest)


def test_a_server_that_stays_broken_is_one_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tries are counted: it never answered well."""
    monkeypatch.setenv("HOMEPORT_LINK_PATIENCE", "60")
    world.push()
    world.registry.faults.errors_500 = 1000
    with pytest.raises(TransferError, match="HTTP 500"):
        world.pull()
    assert len(world.registry.requests) == 4
    assert world.nothing_is_taken()


@pytest.mark.parametrize("ranges", [False, True], ids=["server without ranges", "server with ranges"])
def test_a_broken_connection_goes_on_where_it_stopped(ranges: bool, world: World) -> None:
    world.push()
    world.registry.faults.ranges = ranges
    world.registry.faults.truncate[world.weights()] = 2
    result = world.pull()
    check_model(result.path, world.digest)
    sent = [sent for _, path, _, sent in world.registry.requests if path.endswith(world.weights())]
    assert len(sent) == 3
    if ranges:
        assert sum(sent) < 1.2 * (world.model / "policy.onnx").stat().st_size


def test_a_connection_that_always_breaks_is_one_error(world: World) -> None:
    world.push()
    world.registry.faults.truncate[world.weights()] = 1000
    with pytest.raises(TransferError):
        world.pull()
    assert world.nothing_is_taken()


def test_nobody_listening_is_one_error(world: World) -> None:
    with pytest.raises(HomeportError, match="check that it runs"):
        world.pull("http://127.0.0.1:9")


def test_an_unknown_model_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError, match="push it"):
        world.pull()


def test_a_blob_that_is_gone_is_named(world: World) -> None:
    world.push()
    del world.registry.blobs[world.weights()]
    with pytest.raises(NotFoundError, match=world.weights()):
        world.pull()
    assert world.nothing_is_taken()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("bearer", [False, True], ids=["Basic", "Bearer"])
def test_credentials_are_given_when_asked_for(bearer: bool, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_REGISTRY_AUTH", "robot:secret")
    world.registry.faults.credentials, world.registry.faults.bearer = basic("robot:secret"), bearer
    world.push()
    check_model(world.pull().path, world.digest)
    assert world.registry.authorizations[0] is None


@pytest.mark.parametrize("given", [None, "robot:wrong"])
@pytest.mark.parametrize("bearer", [False, True], ids=["Basic", "Bearer"])
def test_wrong_credentials_are_refused_without_being_shown(
    given: str | None, bearer: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("HOMEPORT_REGISTRY_AUTH", given)
    world.registry.faults.credentials, world.registry.faults.bearer = basic("robot:secret"), bearer
    with pytest.raises(RefusedError, match="HOMEPORT_REGISTRY_AUTH") as caught:
        world.pull()
    assert "wrong" not in str(caught.value) and basic("robot:wrong") not in str(caught.value)


def test_credentials_stay_with_their_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_REGISTRY_AUTH", "robot:secret")
    world.registry.faults.credentials = basic("robot:secret")
    world.push()
    with FakeRegistry() as elsewhere:
        elsewhere.blobs.update(world.registry.blobs)
        world.registry.faults.redirect_blobs_to = elsewhere.url
        check_model(world.pull().path, world.digest)
        assert elsewhere.authorizations and set(elsewhere.authorizations) == {None}


def test_a_redirect_to_plain_http_elsewhere_is_refused(world: World) -> None:
    world.push()
    world.registry.faults.redirect_blobs_to = "http://registry.example"
    with pytest.raises(RefusedError, match="not https"):
        world.pull()
    assert world.nothing_is_taken()


def test_tags_are_listed_over_all_pages(world: World) -> None:
    world.push()
    target = open_source(world.registry.url)
    for patch in range(5):
        target.put_manifest(NAME, world.layout.manifest(NAME, world.digest), f"2.0.{patch}")
    assert target.tags(NAME) == ("1.0.0", "2.0.0", "2.0.1", "2.0.2", "2.0.3", "2.0.4")
    assert target.repositories() == (NAME,)
    assert target.tags("models/none") == ()


def test_a_release_goes_there_and_back(world: World) -> None:
    world.push()
    source, out = open_source(world.registry.url), world.folder / "out"
    key = keys.load(make_key(world.folder / "keys"))
    release = releasing.create(Draft.load(make_recipe(world.folder / "recipe")), source, key)
    published = releases.read(source, Reference.parse("pilot:1.0.0"), world.folder / "keys")
    assert releases.verify(source, published) > 3_000_000
    releases.pull(source, "releases/pilot", release.digest, "process/amd64", ReleaseFolder(out), world.folder / "keys")
    assert Digest.of_file(out / "image.whl") == release.images["process/amd64"].digest
    with pytest.raises(NotFoundError):
        releases.pull(source, "releases/pilot", Digest("0" * 64), "process/amd64", ReleaseFolder(out), None)


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, key and all in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    day = datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    made = builder.add_extension(address, False).add_extension(x509.BasicConstraints(True, None), True)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "tls.pem"
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    path.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


def test_tls_needs_a_known_authority(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with FakeRegistry(context) as registry:
        assert registry.url.startswith("https://")
        with pytest.raises(UntrustedError, match="HOMEPORT_CA_FILE"):
            copy(world.layout, open_source(registry.url), NAME, world.digest, "1.0.0")
        monkeypatch.setenv("HOMEPORT_CA_FILE", str(path))
        copy(world.layout, open_source(registry.url), NAME, world.digest, "1.0.0")
        check_model(world.pull(registry.url).path, world.digest)
        registry.faults.redirect_blobs_to = world.registry.url
        layer = Manifest.parse(world.layout.manifest(NAME, world.digest), "m").layers[0]
        with pytest.raises(RefusedError, match="not https"):
            b"".join(open_source(registry.url).stream(NAME, layer))


IMAGE = "homeport/stack"
CONFIGURATION = """
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "127.0.0.1:0"}
"""


@pytest.fixture
def real(world: World) -> Iterator[Source]:
    """Debian's docker-registry, which serves no list of referrers."""
    if (program := shutil.which("docker-registry")) is None:
        pytest.skip("docker-registry is not installed; apt-get install docker-registry")
    configuration = world.folder / "registry.yml"
    configuration.write_text(CONFIGURATION % (world.folder / "stored"))
    argv = [program, "serve", str(configuration)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(found[1] for line in process.stderr if (found := re.search(r"listening on 127.0.0.1:(\d+)", line)))
        try:
            yield open_source(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


@pytest.fixture(params=["docker-registry", "with the referrers API", "without it"])
def images(request: pytest.FixtureRequest, world: World) -> Source:
    if request.param == "docker-registry":
        source: Source = request.getfixturevalue("real")
        return source
    world.registry.faults.no_referrers = request.param == "without it"
    return open_source(world.registry.url)


@pytest.mark.parametrize("kind", [MANIFEST, DOCKER], ids=["OCI", "Docker"])
def test_an_index_over_http_leads_to_each_image(images: Source, kind: str) -> None:
    pushed = {arch: put_image(images, IMAGE, arch, kind) for arch in ("amd64", "arm64")}
    facts = [find_image(images, IMAGE, f"cpu-{arch}", arch) for arch in pushed]
    index = put_index(images, IMAGE, facts, "0.1.0-cpu")
    assert put_index(images, IMAGE, facts[::-1], "0.1.0-cpu") == index
    for arch, digest in pushed.items():
        found = find_image(images, IMAGE, "0.1.0-cpu", arch)
        assert (found.digest, found.index_digest, found.labels) == (digest, index, {"dev.homeport.row": "cpu"})
    with pytest.raises(RefusedError, match="a version never changes"):
        put_index(images, IMAGE, facts[:1], "0.1.0-cpu")


def test_a_docker_manifest_list_is_read_as_it_was_written(images: Source) -> None:
    digest = put_image(images, IMAGE, "arm64", DOCKER)
    index = put_list(images, IMAGE, "list", [("arm64", "linux", digest, {})])
    assert find_image(images, IMAGE, "list", "arm64").index_digest == index
    with pytest.raises(NotFoundError, match="list"):
        find_image(images, IMAGE, "1.0.0", "arm64")


def test_an_sbom_is_attached_to_an_image_in_registries_of_every_age(images: Source) -> None:
    digest = put_image(images, IMAGE, "amd64")
    for data in (b"{}", b'{"spdxVersion":"SPDX-2.3"}', b"{}"):
        put_referrer(images, IMAGE, digest, SBOM, data)
    assert {each.artifact_type for each in referrers(images, IMAGE, digest)} == {SBOM}
    assert len(referrers(images, IMAGE, digest)) == 2


def test_what_an_engine_pushes_is_found_under_its_image_id(real: Source) -> None:
    if (client := answering(os.environ)) is None:
        pytest.skip("no container engine runs here")
    name = f"{str(real.address).removeprefix('http://')}/{IMAGE}"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("marker"))
    imported = client.api.import_image_from_data(data.getvalue(), repository=name, tag="1", changes=["LABEL a=b"])
    try:
        pushed = client.images.push(name, tag="1")
        image = client.images.get(f"{name}:1")
        assert "error" not in pushed and image.id in imported
        facts = find_image(real, IMAGE, "1", image.attrs["Architecture"])
        assert (str(facts.config_digest), facts.labels) == (image.id, {"a": "b"})
        assert inspect(client, f"{name}:1").id == image.id
    finally:
        client.images.remove(f"{name}:1")
        client.close()
