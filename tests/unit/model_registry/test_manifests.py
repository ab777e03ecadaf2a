"""Manifests: the same bytes everywhere, and nothing read that was not expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry import models
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IntegrityError, NotFoundError, UsageError
from model_registry.manifests import EMPTY, Descriptor, Manifest
from model_registry.packing import check_folder
from tests.fakes.model import NAME, contract, make_model, write_contract
from tests.fakes.schemas import check


def built(folder: Path) -> tuple[Manifest, bytes]:
    return models.build(*check_folder(folder))


def test_the_fake_model_keeps_to_the_schema(tmp_path: Path) -> None:
    check(json.loads((make_model(tmp_path / "m") / "vla.json").read_text()), "vla")


def test_the_same_model_gives_the_same_manifest(tmp_path: Path) -> None:
    first, _ = built(make_model(tmp_path / "one"))
    second, _ = built(make_model(tmp_path / "two"))
    assert first.bytes() == second.bytes()


def test_every_file_is_one_layer_with_its_model_pack_type(tmp_path: Path) -> None:
    manifest, config = built(make_model(tmp_path / "m"))
    types = {path: layer.media_type.split(".model.")[1] for path, layer in models.files_of(manifest, "m").items()}
    assert types == {
        "README.md": "doc.v1.raw",
        "golden/forward.npz": "dataset.v1.raw",
        "norm_stats.json": "weight.config.v1.raw",
        "policy.onnx": "weight.v1.raw",
        "tokenizer.json": "weight.config.v1.raw",
        "vla.json": "weight.config.v1.raw",
    }
    assert manifest.config.digest == Digest.of(config)
    assert json.loads(config)["modelfs"]["diffIds"] == [str(layer.digest) for layer in manifest.layers]
    assert json.loads(config)["descriptor"]["name"] == NAME


def test_a_manifest_survives_the_way_through_its_bytes(tmp_path: Path) -> None:
    manifest, _ = built(make_model(tmp_path / "m"))
    assert Manifest.parse(manifest.bytes(), "m") == manifest


def test_the_empty_descriptor_is_the_one_of_the_specification() -> None:
    assert EMPTY.digest.hex == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"mediaType": "application/vnd.docker.distribution.manifest.v2+json"},
        {"layers": []},
        {"layers": {}},
        {"layers": [{"mediaType": "x", "digest": "sha256:1", "size": 1}]},
        {"layers": [{"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": -1}]},
        {"config": None},
        {"annotations": {"a": 1}},
    ],
    ids=str,
)
def test_a_wrong_manifest_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    manifest, _ = built(make_model(tmp_path / "m"))
    with pytest.raises(UsageError):
        Manifest.parse(json.dumps({**json.loads(manifest.bytes()), **change}).encode(), "m")


def layers_named(*paths: str) -> Manifest:
    layers = tuple(Descriptor.of("x", path.encode(), {models.FILE_PATH: path}) for path in paths)
    return Manifest(models.ARTIFACT, EMPTY, layers)


@pytest.mark.parametrize(
    "paths",
    [
        ("vla.json", "../x.json"), ("vla.json", "/etc/x.json"), ("vla.json", "a\\b.json"), ("vla.json", "a//b.json"),
        ("vla.json", "x.pt"), ("vla.json", "x.pkl"), ("vla.json", "x.bin"), ("vla.json", "x.py"), ("vla.json", ""),
        ("vla.json", "x.json", "X.json"), ("vla.json", "x.json", "x.json"), ("vla.json", "a", "a/b.json"),
        ("vla.json", "manifest.json"), ("vla.json", "Manifest.json"), ("x.json",),
    ],
)  # fmt: skip
def test_paths_that_could_hurt_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(HomeportError):
        models.files_of(layers_named(*paths), "m")


def test_a_model_without_contract_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="homeport model pack"):
        models.files_of(layers_named("x.json"), "m")


def test_the_contract_must_list_exactly_the_layers(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    words, files = check_folder(folder)
    manifest, _ = models.build(words, {path: entry for path, entry in files.items() if path != "README.md"})
    with pytest.raises(IntegrityError, match=r"README\.md is missing in the manifest"):
        models.check_same_files(words, models.files_of(manifest, "m"), "m")


def test_a_contract_that_lies_about_a_digest_is_found_when_packing(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    fields = contract(folder)
    fields["files"] = {**fields["files"], "policy.onnx": f"sha256:{'0' * 64}"}  # type: ignore[dict-item]
    write_contract(folder, fields)
    with pytest.raises(IntegrityError, match=r"policy\.onnx"):
        check_folder(folder)
