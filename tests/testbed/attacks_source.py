"""What a source may answer, and what may lie in a layout or a folder that somebody packs: refused, and nothing is kept.

`ATTACKS` is what the tests play by name and the bench `registry_attacks` counts, together with those against the agent
(attacks_agent.py).
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_registry.cli import app
from model_registry.cli.entry import run
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.errors import HomeportError
from model_registry.packing import copy, pack
from model_registry.refs import Address, Reference
from model_registry.sources import open_source
from model_registry.store import pull_model
from tests.fakes.model import NAME, contract, make_model, write_contract
from tests.fakes.registry import FakeRegistry
from tests.fakes.unseen import unseen

_PATH = "org.cncf.model.filepath"
Spoil = Callable[[Any], Any]
JSON_TAKES: list[bool] = []
"""Whether the standard library's reader took the spoiled manifests that were played so far: the bench's baseline."""


class AttackedSource:
    """A model in a layout and in a registry, and an empty store that pulls it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models = folder, folder / "models"
        self.model = make_model(folder / "m")
        self.layout = open_source(f"oci:{folder / 'layout'}", writable=True)
        _, self.digest = pack(self.model, self.layout)
        self.blobs = folder / "layout/blobs/sha256"

    def manifest(self, spoil: Spoil) -> None:
        """Pull a manifest that was changed, and has the digest that its bytes have."""
        found = spoil(json.loads((self.blobs / self.digest.hex).read_bytes()))
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        JSON_TAKES.append(_reads(data))
        digest = Digest.of(data)
        (self.blobs / digest.hex).write_bytes(data)
        pull_model(self.layout, NAME, digest, self.models)

    def path(self, name: str) -> None:
        """Pull a model one of whose files has this name."""

        def spoil(manifest: Any) -> Any:
            manifest["layers"][0]["annotations"][_PATH] = name
            return manifest

        self.manifest(spoil)

    def layer(self, **changes: object) -> None:
        """Pull a model one of whose layers is described in another way."""

        def spoil(manifest: Any) -> Any:
            manifest["layers"][0].update(changes)
            return manifest

        self.manifest(spoil)

    def blob(self, spoil: Callable[[bytes], bytes | None], which: str = "policy.onnx") -> None:
        """Pull the model after one of its blobs was changed where it lies."""
        path = self.blobs / Digest.of_file(self.model / which).hex
        data = spoil(path.read_bytes())
        path.unlink() if data is None else path.write_bytes(data)
        pull_model(self.layout, NAME, self.digest, self.models)

    def contract(self, spoil: Spoil) -> None:
        """Pack a model whose contract somebody has changed."""
        fields = contract(self.model)
        write_contract(self.model, spoil(fields) or fields)
        pack(self.model, open_source(f"oci:{self.folder / 'other'}", writable=True))

    def registry(self, spoil: Callable[[FakeRegistry], None]) -> None:
        """Pull from a registry in which something goes wrong."""
        with FakeRegistry() as registry:
            copy(self.layout, open_source(registry.url), NAME, self.digest, "1.0.0")
            spoil(registry)
            pull_model(open_source(registry.url), NAME, self.digest, self.models)

    def listing(self, *tags: str) -> None:
        """List the tags of a registry that says it has these; raises HomeportError where none of them is taken up."""
        with FakeRegistry() as registry:
            copy(self.layout, open_source(registry.url), NAME, self.digest, "1.0.0")
            for tag in tags:
                registry.tags[(NAME, tag)] = str(self.digest)
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(app, ["model", "list", NAME, "--source", registry.url])
            shown = out.getvalue() + err.getvalue()
            asked = [path for _, path, *_ in registry.requests if "_catalog" in path or ".." in path]
            if code != 0 or unseen(shown) or asked or any(tag in shown for tag in tags) or "1.0.0" not in shown:
                raise AssertionError(f"{code}: {shown!r}, asked for {asked}")
            raise HomeportError("each of these names was passed over")


Attack = Callable[[AttackedSource], None]


def _reads(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _at(key: str, value: object) -> Attack:
    return lambda source: source.manifest(lambda manifest: {**manifest, key: value})


def _path(name: str) -> Attack:
    return lambda source: source.path(name)


def _layer(**changes: object) -> Attack:
    return lambda source: source.layer(**changes)


def _raw(data: Callable[[bytes], bytes]) -> Attack:
    return lambda source: source.manifest(lambda manifest: data(dump(manifest)))


def _typed(text: str) -> Attack:
    """A name that somebody types or a document brings: neither grammar takes it."""

    def attack(source: AttackedSource) -> None:
        with contextlib.suppress(HomeportError):
            Reference.parse(text)
            return
        Address.parse(text)

    return attack


def _contract(**changes: object) -> Attack:
    return lambda source: source.contract(lambda fields: fields.update(changes))


def _twice(manifest: Any) -> Any:
    return {**manifest, "layers": [*manifest["layers"], manifest["layers"][0]]}


def _folded(manifest: Any) -> Any:
    layer = json.loads(json.dumps(manifest["layers"][0]))
    layer["annotations"][_PATH] = layer["annotations"][_PATH].upper()
    return {**manifest, "layers": [*manifest["layers"], layer]}


def _flip(registry: FakeRegistry, source: AttackedSource) -> None:
    registry.faults.flip = str(Digest.of_file(source.model / "policy.onnx"))


_PATHS = (
    "../x", "a/../../x", "/etc/passwd", "a\\b", "a//b", "./a", "a/", "", ".", "..", "a\x00b", "a\nb", "\x1b[31ma",
    "~/x", "a/./b", "x" * 5000, "é\u202etxt", "-rf", "C:/x", " a",
)  # fmt: skip
_MANIFESTS: dict[str, Attack] = {
    **{f"path in a manifest: {name[:20]!r}": _path(name) for name in _PATHS if name != "-rf"},
    "half a character in a title": _layer(annotations={_PATH: "policy.onnx", "title": "\ud800"}),
    "one path twice": lambda source: source.manifest(_twice),
    "paths that are one on some file systems": lambda source: source.manifest(_folded),
    "size below 0": _layer(size=-1),
    "size of another blob": _layer(size=1),
    "size without end": _layer(size=10**400),
    "size as a text": _layer(size="1"),
    "digest of another kind": _layer(digest="sha512:" + "a" * 128),
    "digest in capitals": _layer(digest="sha256:" + "A" * 64),
    "digest that is a path": _layer(digest="sha256:../../../../etc/passwd"),
    "digest of a blob that is not there": _layer(digest="sha256:" + "1" * 64),
    "digest of another blob": _layer(digest="sha256:" + Digest.of(b"{}").hex),
    "no media type": _layer(mediaType=None),
    "layers that are none": _at("layers", []),
    "layers without end": _at("layers", [{}] * 5000),
    "layers as an object": _at("layers", {}),
    "schema 1": _at("schemaVersion", 1),
    "schema that is true": _at("schemaVersion", True),
    "another artifact": _at("artifactType", "application/vnd.homeport.release.v1+json"),
    "an index in place of a manifest": _at("mediaType", "application/vnd.oci.image.index.v1+json"),
    "a media type of nobody": _at("mediaType", "text/html"),
    "annotations as a list": _at("annotations", []),
    "annotations with numbers": _at("annotations", {"a": 1}),
    "duplicate keys": _raw(lambda data: data[:-1] + b',"layers":[]}'),
    "not a number in a manifest": _raw(lambda data: data[:-1] + b',"x":NaN}'),
    "deep JSON in a manifest": _raw(lambda data: data[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "digits without end": _raw(lambda data: data[:-1] + b',"x":' + b"9" * 5000 + b"}"),
    "4 MiB of empty lists": _raw(lambda data: b"[" + b"[]," * 1_398_000 + b"0]"),
    "4 MiB of empty objects": _raw(lambda data: b"[" + b"{}," * 1_398_000 + b"0]"),
    "more than 4 MiB": _raw(lambda data: data + b" " * (5 << 20)),
    "a tail": _raw(lambda data: data + b"{}"),
    "a byte order mark": _raw(lambda data: b"\xef\xbb\xbf" + data),
    "UTF-16": _raw(lambda data: data.decode().encode("utf-16")),
    "no JSON": _raw(lambda data: b"<html>"),
    "nothing": _raw(lambda data: b""),
}
_BLOBS: dict[str, Attack] = {
    "a flipped byte": lambda source: source.blob(lambda data: bytes([data[0] ^ 1]) + data[1:]),
    "a byte too many": lambda source: source.blob(lambda data: data + b"x"),
    "a byte too few": lambda source: source.blob(lambda data: data[:-1]),
    "another blob of the same size": lambda source: source.blob(lambda data: b"\x00" * len(data)),
    "an empty blob": lambda source: source.blob(lambda data: b""),
    "a blob that is gone": lambda source: source.blob(lambda data: None),
    "another contract": lambda source: source.blob(lambda data: b"{}", "vla.json"),
    "a contract that is gone": lambda source: source.blob(lambda data: None, "vla.json"),
}
_CONTRACTS: dict[str, Attack] = {
    "contract of a newer schema": _contract(schema=99),
    "contract with an unknown key": _contract(surprise=1),
    "contract that requires what nobody knows": _contract(requires=["telepathy"]),
    "contract whose name leaves the registry": _contract(name="../../etc"),
    "contract with another version grammar": _contract(version="latest"),
    "contract with a graph outside": lambda source: source.contract(
        lambda fields: fields["graphs"][0].update(path="../../../etc/passwd")
    ),
    "contract with a file that is not there": lambda source: source.contract(
        lambda fields: fields["files"].update({"more.onnx": f"sha256:{'1' * 64}"})
    ),
    "contract with a digest of another file": lambda source: source.contract(
        lambda fields: fields["files"].update(dict.fromkeys(fields["files"], f"sha256:{'1' * 64}"))
    ),
    "contract without goldens": _contract(goldens=[]),
    "contract with a loop of its graphs to itself": _contract(output={"from": "nowhere.actions"}),
    "a graph of random bytes": lambda source: _packed(source, "policy.onnx", b"\x07random" * 40),
    "goldens that would run a program": lambda source: _packed(source, "golden.npz", b"\x80\x04\x95random"),
    "a link among the files": lambda source: _linked(source),
}
_NAMES: dict[str, Attack] = {
    f"name: {text[:24]!r}": _typed(text)
    for text in (
        "../pilot:1.0.0", "/pilot:1.0.0", "pilot:../../../../v2/_catalog", "pilot:-rf", "pilot", "pilot:",
        "pilot@latest", "pilot@sha256:zz", "pilot@sha512:" + "a" * 128,
        "PILOT:1.0.0", "pi lot:1.0.0", "pilot:1.0.0\n", "p\x00:1",
        "http://registry.example.org", "https://", "https://host/../..", "https://host?x", "https://host#x",
        "ftp://host", "https://ho st", "https://host:99999", "file:///etc", "oci:", "x" * 300 + ":1",
    )
}  # fmt: skip
_REGISTRY: dict[str, Attack] = {
    "registry flips a byte": lambda source: source.registry(lambda registry: _flip(registry, source)),
    "registry answers with something else": lambda source: source.registry(
        lambda registry: setattr(registry.faults, "answer_manifests_with", b"{}")
    ),
    "registry answers with a page": lambda source: source.registry(
        lambda registry: setattr(registry.faults, "answer_manifests_with", b"<html>" * 100)
    ),
    "registry answers without end": lambda source: source.registry(
        lambda registry: setattr(registry.faults, "answer_manifests_with", b"[" * (5 << 20))
    ),
    "registry leads blobs to plain http elsewhere": lambda source: source.registry(
        lambda registry: setattr(registry.faults, "redirect_blobs_to", "http://registry.example.org")
    ),
    "registry leads blobs to a file": lambda source: source.registry(
        lambda registry: setattr(registry.faults, "redirect_blobs_to", "file:///etc/passwd?")
    ),
    "listing with control characters": lambda source: source.listing("\x1b]0;pwned\x07", "1.1.0\n2.0.0", "a\u202eb"),
    "listing with a path": lambda source: source.listing("../../../../v2/_catalog", "a/b", ".."),
    "listing with what no tag can be": lambda source: source.listing("é", "x" * 200, "!"),
}


def _packed(source: AttackedSource, name: str, data: bytes) -> None:
    [path] = source.model.rglob(name) if list(source.model.rglob(name)) else [next(source.model.rglob("*.npz"))]
    path.write_bytes(data)
    write_contract(source.model, contract(source.model))
    pack(source.model, open_source(f"oci:{source.folder / 'other'}", writable=True))


def _linked(source: AttackedSource) -> None:
    path = source.model / "policy.onnx"
    path.rename(source.folder / "elsewhere.onnx")
    path.symlink_to(source.folder / "elsewhere.onnx")
    pack(source.model, open_source(f"oci:{source.folder / 'other'}", writable=True))


ATTACKS: dict[str, Attack] = {**_MANIFESTS, **_BLOBS, **_CONTRACTS, **_NAMES, **_REGISTRY}


def refused(folder: Path, attack: Attack) -> str | None:
    """Play an attack in a fresh folder; None when it was refused in one line and left nothing, else what went wrong."""
    source = AttackedSource(folder)
    try:
        attack(source)
    except HomeportError as error:
        if "\n" in str(error) or unseen(str(error)):
            return f"more than a line: {str(error)!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        return "it was taken"
    kept = [path.name for path in source.models.glob("*") if path.suffix != ".lock"] if source.models.exists() else []
    return f"left behind: {kept}" if any(len(name) == 64 for name in kept) else None
