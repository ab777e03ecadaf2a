"""vla.toml: what a person writes becomes the vla.json that is packed, with the digests of all files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from model_registry.authoring import ModelFolder, read_folder, unknowns
from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.packing import pack, prepare
from model_registry.sources import open_source
from model_registry.store import pull_model
from tests.fakes.authored import author, write_toml
from tests.fakes.model import make_model
from tests.fakes.odd_graphs import rename_axes
from tests.fakes.tiny import add_variant, make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return author(make_model(tmp_path / "m", size=0))


def packed(folder: Path) -> Path:
    """Pack a folder, and what a robot gets of it."""
    source = open_source(f"oci:{folder.parent / 'registry'}", writable=True)
    contract, digest = pack(folder, source)
    return pull_model(source, contract.name, digest, folder.parent / "models").path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_is_the_contract_that_a_program_would_have_written(tmp_path: Path) -> None:
    written = make_model(tmp_path / "written" / "m")
    authored = author(make_model(tmp_path / "authored" / "m"))
    before = snapshot(authored)

    assert Contract.load(packed(authored)) == Contract.load(packed(written))
    assert snapshot(authored) == before, "the folder stays as it is"


def test_the_same_words_in_another_order_and_with_other_comments_are_the_same_model(
    tmp_path: Path, folder: Path
) -> None:
    first = packed(folder).name
    lines = (folder / "vla.toml").read_text().splitlines()
    (folder / "vla.toml").write_text("\n".join(["# Another comment.", "", *reversed(lines)]))

    assert packed(folder).name == first


def test_every_file_is_listed_but_not_the_authors_own(folder: Path) -> None:
    (folder / "vla.json").write_text('{"schema": 1}')
    (folder / "manifest.json").write_text("{}")
    (folder / "notes.txt").write_text("as trained in May")
    found = read_folder(folder)

    names = {"README.md", "golden/forward.npz", "norm_stats.json", "notes.txt", "policy.onnx", "tokenizer.json"}
    assert set(found.contract.files) == names
    assert set(found.files) == {*names, "vla.json"}
    assert found.files["vla.json"] == (Digest.of(found.made["vla.json"]), len(found.made["vla.json"]))
    assert sorted(path.name for path in packed(folder).iterdir() if path.is_file()) == sorted(
        {*(name for name in names if "/" not in name), "vla.json", "manifest.json"}
    )


def test_a_folder_that_a_program_made_is_read_as_it_is(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", size=0)
    found = read_folder(folder)

    assert found == ModelFolder(folder, Contract.load(folder), found.files, {})
    assert unknowns(folder) == []


def test_axes_are_fixed_in_what_is_packed(folder: Path) -> None:
    model = onnx.load(str(folder / "policy.onnx"))
    rename_axes(("lidar", 0, "batch"), ("action", 0, "batch"))(model)
    onnx.save(model, str(folder / "policy.onnx"))
    prepared = prepare(folder)

    assert set(prepared.changed) == {"vla.json", "policy.onnx"}
    Contract.load(packed(folder)).check_files(packed(folder))


def test_everything_that_is_not_known_yet_is_said_at_once(folder: Path) -> None:
    document = json.loads(prepare(folder).changed["vla.json"])
    del document["files"]
    document["licence"] = "?"
    document["action"]["dims"][1] |= {"unit": "?", "max": "?"}
    document["graphs"][0]["inputs"]["lidar"] = "?"
    document["observation"]["lidar"]["sectors"] = "?"
    write_toml(folder, document)

    with pytest.raises(RefusedError) as refused:
        prepare(folder)

    said = str(refused.value)
    assert "5 things to fix before this model can be packed" in said
    assert 'vla.toml.action.dims[1].unit: is not known yet ("?"); write one of rad, deg, m' in said
    assert 'vla.toml.action.dims[1].max: is not known yet ("?"); write the end of the range' in said
    assert 'vla.toml.graphs[0].inputs.lidar: is not known yet ("?"); write what fills it: cameras.NAME' in said
    assert 'vla.toml.licence: is not known yet ("?"); write the licence of its weights' in said
    assert 'vla.toml.observation.lidar.sectors: is not known yet ("?"); write its value' in said


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no_toml": (lambda folder: (folder / "vla.toml").write_text("name = "), "not valid TOML"),
    "not_utf_8": (lambda folder: (folder / "vla.toml").write_bytes(b"name = '\xff'"), "write it as UTF-8"),
    "unknown_key": (lambda folder: change(folder, surprise=1), r"vla\.toml: unknown key 'surprise'"),
    "wrong_type": (lambda folder: change(folder, version=1.0), r"vla\.toml\.version: expected a string"),
    "digests": (lambda folder: change(folder, files={}), "digests are computed by `homeport model pack`"),
    "missing_file": (lambda folder: (folder / "policy.onnx").unlink(), r"'policy\.onnx' is used and is not among them"),
    "no_goldens": (lambda folder: change(folder, goldens=[]), r"vla\.toml\.goldens: a model without goldens"),
    "infinite": (lambda folder: append(folder, "\n[action.more]\nmin = inf\n"), "action"),
    "infinite_top": (lambda folder: append(folder, "limit = inf\n"), r"vla\.toml\.limit: inf .* write a finite number"),
    "date": (lambda folder: append(folder, "made = 2026-11-30\n"), r"vla\.toml\.made: 2026-11-30"),
    "hidden": (lambda folder: (folder / ".env").write_text("x"), "is a hidden file"),
    "strange": (lambda folder: (folder / "weights.pt").write_text("x"), "not a kind of file"),
    "link": (lambda folder: (folder / "more.md").symlink_to(folder / "README.md"), "not a plain file"),
    "way_out": (lambda folder: change(folder, variants=["../other"]), "expected a plain relative path"),
}


def change(folder: Path, **changes: object) -> None:
    document = json.loads(prepare(folder).changed["vla.json"])
    del document["files"]
    write_toml(folder, document | changes)


def append(folder: Path, text: str) -> None:
    with (folder / "vla.toml").open("a") as file:
        file.write(text)


@pytest.mark.parametrize(("spoil", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_folder_that_cannot_be_packed_is_refused(spoil: Callable[[Path], object], words: str, folder: Path) -> None:
    spoil(folder)

    with pytest.raises(HomeportError, match=words):
        prepare(folder)


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name the folder that holds vla\.toml or vla\.json"):
        read_folder(tmp_path / "nowhere")


def test_variants_may_have_a_vla_toml_too(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    add_variant(folder, "small")
    author(folder)
    author(folder / "small")
    (folder / "small" / "vla.json").write_text("old")
    found = packed(folder)

    Contract.load(found).check_files(found)
    Contract.load(found / "small").check_files(found / "small")
    assert not list(found.rglob("vla.toml"))


def test_a_variant_that_is_not_ready_is_named(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    add_variant(folder, "small")
    author(folder)
    author(folder / "small", licence="?")

    with pytest.raises(RefusedError, match=r"small/vla\.toml\.licence: is not known yet"):
        prepare(folder)


def test_axes_of_a_variant_are_fixed_in_all_that_names_them(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    small = add_variant(folder, "small")
    model = onnx.load(str(small / "policy.onnx"))
    rename_axes(("lidar", 0, "batch"))(model)
    onnx.save(model, str(small / "policy.onnx"))
    author(folder)
    author(small)
    found = packed(folder)

    Contract.load(found).check_files(found)
    Contract.load(found / "small").check_files(found / "small")
