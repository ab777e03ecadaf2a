"""Registries speak many dialects, and strangers speak for them: what the client answers to whom."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, NotFoundError, RefusedError, UsageError
from model_registry.images import SBOM, put_referrer, referrers
from model_registry.manifests import Manifest
from model_registry.packing import copy, pack
from model_registry.refs import Address
from model_registry.sources import Source, open_source
from model_registry.sources.http import TransferError
from model_registry.sources.registry import RegistrySource
from model_registry.store import check_model, pull_model
from tests.fakes.images import put_image
from tests.fakes.model import NAME, make_model
from tests.fakes.registry import FakeRegistry, Handler, know_nothing

SECRET = "s3cret-日本-é"
BASIC = "Basic " + base64.b64encode(f"robot:{SECRET}".encode()).decode()


class Site:
    """A packed model in a folder, a registry to talk to, and a folder for logins."""

    def __init__(self, folder: Path, registry: FakeRegistry) -> None:
        self.folder, self.registry = folder, registry
        self.docker = folder / "docker"
        self.layout = open_source(f"oci:{folder / 'layout'}", writable=True)
        self.model = make_model(folder / "m", size=100_000)
        _, self.digest = pack(self.model, self.layout)

    def push(self, url: str | None = None) -> None:
        copy(self.layout, open_source(url or self.registry.url), NAME, self.digest, "1.0.0")

    def pull(self, url: str | None = None) -> None:
        source = open_source(url or self.registry.url)
        check_model(pull_model(source, NAME, self.digest, self.folder / "models").path, self.digest)

    def log_in(self, **config: object) -> None:
        self.docker.mkdir(exist_ok=True)
        (self.docker / "config.json").write_text(json.dumps(config))

    @property
    def host(self) -> str:
        return self.registry.url.removeprefix("http://")

    def weights(self) -> str:
        return str(Digest.of_file(self.model / "policy.onnx"))

    def seen(self, method: str, words: str = "") -> list[int]:
        return [code for verb, path, code, _ in self.registry.requests if verb == method and words in path]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    know_nothing(monkeypatch, tmp_path / "docker")
    monkeypatch.setenv("HOMEPORT_LINK_PATIENCE", "10.0")
    with FakeRegistry() as registry:
        yield Site(tmp_path, registry)


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# --------------------------------------------------------------------------------------------------------- logging in


def test_any_password_is_sent_as_utf_8(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.registry.faults.credentials = BASIC
    monkeypatch.setenv("HOMEPORT_REGISTRY_AUTH", f"robot:{SECRET}")
    site.push()
    site.pull()


@pytest.mark.parametrize("key", ["{host}", "http://{host}", "https://{host}/v2/"])
def test_what_docker_login_kept_is_used(key: str, site: Site) -> None:
    site.registry.faults.credentials = BASIC
    site.log_in(
        auths={"other.example": {"auth": auth("a:b")}, key.format(host=site.host): {"auth": auth(f"robot:{SECRET}")}}
    )
    site.push()
    site.pull()


@pytest.mark.parametrize("where", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_asked(where: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.registry.faults.credentials = BASIC
    answer = json.dumps({"ServerURL": site.host, "Username": "robot", "Secret": SECRET})
    program = site.folder / "bin" / "docker-credential-site"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nassert sys.stdin.read() == {site.host!r}\nprint({answer!r})\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    site.log_in(**{where: "site" if where == "credsStore" else {site.host: "site"}})
    site.push()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "no JSON object"),
        ('{"auths":{"HOST":{"auth":"%%%"}}}', "not base64"),
        ('{"credsStore":"../evil"}', "no name of a credential helper"),
        ('{"credsStore":"nobody-has-it"}', "not installed"),
    ],
)
def test_a_login_file_that_cannot_be_used_is_named(config: str, words: str, site: Site) -> None:
    site.registry.faults.credentials = BASIC
    site.log_in()
    (site.docker / "config.json").write_text(config.replace("HOST", site.host))
    with pytest.raises(UsageError, match=words) as caught:
        site.push()
    assert str(site.docker) in str(caught.value) or "helper" in words


@pytest.mark.parametrize("form", ["bearer first", "basic first", "two headers"])
def test_of_two_challenges_the_token_is_taken(form: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    bearer, basic = f'Bearer realm="{site.registry.url}/token",service="reg"', 'Basic realm="R"'
    offers = {
        "bearer first": [f"{bearer}, {basic}"],
        "basic first": [f"{basic}, {bearer}"],
        "two headers": [bearer, basic],
    }
    scopes: list[str] = []

    def answer(request: Handler) -> bool:
        if request.path.startswith("/token"):
            scopes.append(request.path)
            request.reply(200, b'{"token":"good"}')
            return True
        if request.headers.get("Authorization") == "Bearer good":
            return False
        request.send_response(401)
        for offer in offers[form]:
            request.send_header("WWW-Authenticate", offer)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return True

    site.registry.faults.answer = answer
    monkeypatch.setenv("HOMEPORT_REGISTRY_AUTH", "u:p")
    site.push()
    # No scope was offered: the client asks for the one of its request.
    assert scopes and all("scope=repository%3Amodels%2Fpilot%3Apull" in path for path in scopes)


@pytest.mark.parametrize("way", ["redirect", "Link", "Location"])
def test_a_stranger_is_given_no_password(way: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the registry's own origin may ask for credentials, wherever it leads to."""
    monkeypatch.setenv("HOMEPORT_REGISTRY_AUTH", f"robot:{SECRET}")
    site.push()
    with FakeRegistry() as stranger:
        stranger.faults.credentials = BASIC
        stranger.faults.bearer = True

        def answer(request: Handler) -> bool:
            away = {"Location": f"{stranger.url}{request.path}"}
            if way == "redirect" and request.command == "GET" and "/blobs/" in request.path:
                request.reply(307, headers=away)
            elif way == "Location" and request.command == "POST":
                request.reply(202, headers=away)
            elif way == "Link" and "tags/list" in request.path:
                request.reply(200, b'{"tags":[]}', {"Link": f'<{stranger.url}/v2/x/tags/list>; rel="next"'})
            else:
                return False
            return True

        site.registry.faults.answer = answer
        source = open_source(site.registry.url)
        if way == "Location":
            site.registry.blobs = {}
        with pytest.raises(RefusedError, match=r"leads to 127\.0\.0\.1, which refused"):
            if way == "Link":
                source.tags(NAME)
            elif way == "Location":
                copy(site.layout, source, "homeport/other", site.digest, "1.0.0")
            else:
                site.pull()
        assert stranger.requests and set(stranger.authorizations) == {None}


def test_a_password_in_a_url_is_never_shown() -> None:
    for text in (
        f"https://robot:{SECRET}@host",
        f"robot:{SECRET}@host",
        f"https://robot:{SECRET}@[::1",
        f"ftp://u:{SECRET}@h/?q#f",
    ):
        with pytest.raises(UsageError) as caught:
            open_source(text)
        assert SECRET not in str(caught.value)


# ------------------------------------------------------------------------------------------------- odd answers, waiting


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_rate_limit_is_waited_for(form: str, site: Site) -> None:
    site.push()
    until = [0.0]

    def answer(request: Handler) -> bool:
        until[0] = until[0] or time.time() + 1.2
        if "/blobs/" not in request.path or time.time() >= until[0]:
            return False
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
        request.reply(
            429, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}', {"Retry-After": "2" if form == "seconds" else date}
        )
        return True

    site.registry.faults.answer = answer
    site.pull()
    assert 1 <= site.seen("GET", "/blobs/").count(429) <= 3


def test_a_rate_limit_that_is_too_long_is_told(site: Site) -> None:
    site.push()
    site.registry.faults.answer = lambda request: not request.reply(429, b"", {"Retry-After": "7200"})
    with pytest.raises(TransferError, match=r"rate limit.*7200 s"):
        site.pull()


def test_a_registry_that_asks_for_no_pause_is_not_asked_without_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_LINK_PATIENCE", "2")
    site.registry.faults.answer = lambda request: not request.reply(503, b"", {"Retry-After": "0"})
    with pytest.raises(TransferError, match="503"):
        open_source(site.registry.url).find(NAME, "1.0.0")
    assert len(site.registry.requests) < 10


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int, site: Site) -> None:
    site.push()
    left = [2]

    def answer(request: Handler) -> bool:
        left[0] -= 1
        return left[0] >= 0 and not request.reply(status)

    site.registry.faults.answer = answer
    site.pull()


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            403,
            {"errors": [{"code": "DENIED", "message": "would exceed the quota of 5 GiB"}]},
            RefusedError,
            "quota of 5",
        ),
        (
            404,
            {"errors": [{"code": "NAME_UNKNOWN", "message": "no such project"}]},
            NotFoundError,
            "create the repository",
        ),
        (413, "<html>413</html>", HomeportError, "takes no body of this size"),
        (418, {"errors": [{"code": "TEA", "message": "\x1b]0;pwned\x07"}]}, HomeportError, "TEA"),
        (400, "[" * 5000, HomeportError, "HTTP 400 Bad Request"),
    ],
)
def test_the_registry_s_own_words_are_told(
    status: int, body: object, kind: type[HomeportError], words: str, site: Site
) -> None:
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    site.registry.faults.answer = lambda request: request.command == "POST" and not request.reply(status, data)
    with pytest.raises(kind, match=words) as caught:
        site.push()
    assert "\x1b" not in str(caught.value) and "HOMEPORT_REGISTRY_AUTH" not in str(caught.value)


def test_a_body_that_is_whole_needs_no_end(site: Site) -> None:
    site.push()
    data, asked = site.registry.blobs[site.weights()], []

    def answer(request: Handler) -> bool:
        if request.command != "GET" or not request.path.endswith(site.weights()):
            return False
        asked.append(request.headers.get("Range"))
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        request.close_connection = True
        return True

    site.registry.faults.answer = answer
    site.pull()
    assert asked == [None]


@pytest.mark.parametrize("status", [404, 406, 405, 400, 501, 200])
def test_an_sbom_is_found_whatever_the_registry_says_of_referrers(status: int, site: Site) -> None:
    source = open_source(site.registry.url)
    digest = put_image(source, "homeport/stack", "amd64")
    page = b"<!doctype html><title>Welcome</title>"
    site.registry.faults.answer = lambda request: "/referrers/" in request.path and not request.reply(status, page)
    put_referrer(source, "homeport/stack", digest, SBOM, b"{}")
    assert [each.artifact_type for each in referrers(source, "homeport/stack", digest)] == [SBOM]


@pytest.mark.parametrize("code", [200, 201, 204])
def test_an_upload_may_end_with_any_success(code: int, site: Site) -> None:
    given = site.registry

    def answer(request: Handler) -> bool:
        if request.command != "PUT" or "/uploads/" not in request.path:
            return False
        given.blobs[str(Digest.of(request.body))] = request.body
        request.reply(code)
        return True

    given.faults.answer = answer
    site.push()


@pytest.mark.parametrize("code", [307, 308])
def test_a_put_follows_its_redirect(code: int, site: Site) -> None:
    def answer(request: Handler) -> bool:
        if request.command != "PUT" or "/uploads/" not in request.path or "moved=1" in request.path:
            return False
        request.reply(code, headers={"Location": f"{request.path}&moved=1"})
        return True

    site.registry.faults.answer = answer
    site.push()
    site.pull()


def test_a_catalogue_that_is_missing_is_said(site: Site) -> None:
    site.registry.faults.answer = lambda request: "_catalog" in request.path and not request.reply(404)
    with pytest.raises(NotFoundError, match="does not list its repositories; name the one"):
        open_source(site.registry.url).repositories()


def test_tags_that_are_none_lead_nowhere(site: Site) -> None:
    names = json.dumps({"tags": ["1.0.0", "../../../../v2/_catalog", "\x1b]0;pwned\x07"]}).encode()
    site.registry.faults.answer = lambda request: "tags/list" in request.path and not request.reply(200, names)
    assert open_source(site.registry.url).tags(NAME) == ("1.0.0",)


def test_of_two_publishers_one_is_told_that_it_lost(site: Site) -> None:
    site.push()
    other = json.dumps({"schemaVersion": 2, "layers": []}).encode()

    def answer(request: Handler) -> bool:
        if request.command == "PUT" and request.path.endswith("/manifests/2.0.0"):
            site.registry.manifests[str(Digest.of(other))] = other
            site.registry.tags[NAME, "2.0.0"] = str(Digest.of(other))
            request.reply(201)
            return True
        return False

    site.registry.faults.answer = answer
    with pytest.raises(RefusedError, match="somebody else published it"):
        open_source(site.registry.url).put_manifest(NAME, site.layout.manifest(NAME, site.digest), "2.0.0")


# --------------------------------------------------------------------------------------------------- pushes, namespaces


def test_an_answer_that_was_lost_costs_no_second_upload(site: Site) -> None:
    """The registry has the blob, and its answer did not arrive: it is asked before anything is sent again."""
    puts: list[str] = []

    def answer(request: Handler) -> bool:
        if request.command == "PUT" and "/uploads/" in request.path:
            puts.append(str(Digest.of(request.body)))
            site.registry.blobs[puts[-1]] = request.body
            request.close_connection = True
            return True
        return False

    site.registry.faults.answer = answer
    site.push()
    assert len(puts) == len(set(puts))


@pytest.mark.parametrize("chunks", [True, False], ids=["chunks", "no chunks"])
def test_a_large_blob_goes_on_where_its_upload_broke(chunks: bool, site: Site) -> None:
    site.registry.faults.chunks = chunks
    sent: list[int] = []

    def answer(request: Handler) -> bool:
        if request.command != "PATCH" or not chunks:
            return False
        sent.append(len(request.body))
        if len(sent) == 2:  # its answer is lost, and half of it
            key = request.path.partition("uploads/")[2].partition("?")[0]
            site.registry.uploads[key] += request.body[:12_345]
            request.close_connection = True
            return True
        return False

    site.registry.faults.answer = answer
    target = RegistrySource(Address.parse(site.registry.url), chunk_bytes=30_000)
    copy(site.layout, target, NAME, site.digest, "1.0.0")
    site.registry.faults.answer = None
    site.pull()
    if chunks:
        assert sum(sent) == len(site.registry.blobs[site.weights()]) + 30_000 - 12_345


def test_a_blob_of_another_repository_is_not_sent_again(site: Site) -> None:
    site.push(f"{site.registry.url}/dev")
    site.registry.requests.clear()
    site.registry.faults.answer = lambda request: request.command == "HEAD" and not request.reply(404)
    dev, prod = (open_source(f"{site.registry.url}/{name}") for name in ("dev", "prod"))
    copy(dev, prod, NAME, site.digest, "1.0.0")
    assert site.seen("PUT", "/uploads/") == [] and site.seen("POST", "/prod/")


def test_everything_lives_under_a_namespace(site: Site) -> None:
    url = f"{site.registry.url}/acme/robots"
    inside = ("/v2/acme/robots/", "/v2/_catalog")
    site.registry.faults.answer = lambda request: not request.path.startswith(inside) and not request.reply(403)
    site.push(url)
    site.pull(url)
    source = open_source(url)
    assert source.tags(NAME) == ("1.0.0",) and source.repositories() == (NAME,)
    assert source.find(NAME, "1.0.0") == site.digest
    assert put_image(source, "homeport/stack", "amd64")


def test_a_dead_mirror_costs_little_and_a_bad_one_nothing_wrong(site: Site) -> None:
    site.push()
    with FakeRegistry() as bad:
        bad.blobs, bad.manifests, bad.tags = site.registry.blobs, site.registry.manifests, site.registry.tags
        bad.faults.flip = site.weights()
        began = time.monotonic()
        sources = f"oci:{site.folder / 'no-stick'},http://127.0.0.1:9,{bad.url},{site.registry.url}"
        site.pull(sources)
        assert time.monotonic() - began < 5.0
        assert site.seen("GET", "/blobs/") == [200]  # the one file that the mirror had wrong
    with pytest.raises(UsageError, match="only one can be written"):
        open_source(sources, writable=True)


# ------------------------------------------------------------------------------------------------------------ documents


def test_unknown_keys_and_a_missing_artifact_type_are_read(site: Site) -> None:
    fields = json.loads(site.layout.manifest(NAME, site.digest))
    kind = fields.pop("artifactType")
    fields["config"] |= {"mediaType": kind, "urls": ["https://x.example"], "data": "e30=", "platform": {}}
    fields["x-site"] = {"a": 1}
    assert Manifest.parse(json.dumps(fields).encode(), "m").artifact_type == kind


def test_files_have_titles_for_other_programs(site: Site) -> None:
    manifest = Manifest.parse(site.layout.manifest(NAME, site.digest), "m")
    titles = {layer.annotations["org.opencontainers.image.title"] for layer in manifest.layers}
    assert {"policy.onnx", "vla.json"} <= titles


def spoiled(site: Site, name: str) -> Source:
    folder = site.folder / "layout"
    index = json.loads((folder / "index.json").read_text())
    if name == "fifo":
        path = folder / "blobs/sha256" / site.weights().removeprefix("sha256:")
        path.unlink()
        os.mkfifo(path)
    elif name == "twice":
        other = {**index["manifests"][0], "digest": f"sha256:{'0' * 64}"}
        (folder / "index.json").write_text(json.dumps({**index, "manifests": [*index["manifests"], other]}))
    else:
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"9.9.9"}')
    return open_source(f"oci:{folder}")


@pytest.mark.parametrize(
    ("name", "words"), [("fifo", "no file"), ("twice", "remove one entry"), ("version", r"version 9\.9\.9")]
)
def test_an_odd_layout_is_refused(name: str, words: str, site: Site) -> None:
    with pytest.raises(HomeportError, match=words):
        source = spoiled(site, name)
        source.find(NAME, "1.0.0")
        pull_model(source, NAME, site.digest, site.folder / "models")
