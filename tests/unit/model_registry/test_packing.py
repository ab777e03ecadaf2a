"""What is refused before a model is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.inspection.vectors import read_headers
from model_registry.packing import check_folder, copy, pack
from model_registry.sources import open_source
from tests.fakes.model import NAME, contract, make_model, write_contract


def edit(**changes: object) -> Callable[[Path], None]:
    return lambda folder: write_contract(folder, {**contract(folder), **changes})


def listed(name: str, data: bytes = b"x") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)
        write_contract(folder, contract(folder))

    return change


def link(folder: Path) -> None:
    (folder / "policy.onnx").rename(folder.parent / "away.onnx")
    (folder / "policy.onnx").symlink_to(folder.parent / "away.onnx")


def link_folder(folder: Path) -> None:
    (folder / "golden").rename(folder.parent / "away")
    (folder / "golden").symlink_to(folder.parent / "away")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "vla.json").unlink(), r"vla\.json"),
        (lambda folder: (folder / "policy.onnx").unlink(), "policy.onnx"),
        (lambda folder: (folder / "policy.onnx").write_bytes(b"other"), "policy.onnx"),
        (lambda folder: (folder / "extra.json").write_text("{}"), "extra.json"),
        (lambda folder: (folder / "weights.pt").write_text("x"), "not a kind of file"),
        (listed("weights.pkl"), "not a kind of file"),
        (listed("golden/forward.npz", b"PK"), "npz"),
        (link, "not a plain file"),
        (link_folder, "not a plain file"),
        (edit(name="Models/Pilot"), "name"),
        (edit(version="1.0"), "version"),
        (edit(version="1.0.0+build"), "version"),
        (edit(schema=3), "newer"),
        (edit(schema=1), "is no longer read"),
        (edit(requires=["magic"]), "magic"),
        (edit(goldens=[]), "golden"),
        (edit(goldens=[{"path": "golden/none.npz", "tolerance": {}}]), "none.npz"),
        (edit(surprise=1), "surprise"),
    ],
)
def test_a_bad_folder_is_refused_and_nothing_is_stored(
    change: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "m")
    change(folder)
    source = open_source(f"oci:{tmp_path / 'r'}", writable=True)
    with pytest.raises(HomeportError, match=words):
        pack(folder, source)
    assert list((tmp_path / "r/blobs/sha256").iterdir()) == []
    assert source.repositories() == ()


def test_a_version_with_other_files_is_refused(tmp_path: Path) -> None:
    source = open_source(f"oci:{tmp_path / 'r'}", writable=True)
    _, digest = pack(make_model(tmp_path / "one"), source)
    stored = sorted((tmp_path / "r/blobs/sha256").iterdir())
    with pytest.raises(RefusedError, match="a version never changes"):
        pack(make_model(tmp_path / "two", seed=1), source)
    assert sorted((tmp_path / "r/blobs/sha256").iterdir()) == stored
    assert source.find(NAME, "1.0.0") == digest


def test_packing_twice_changes_nothing(tmp_path: Path) -> None:
    source = open_source(f"oci:{tmp_path / 'r'}", writable=True)
    folder = make_model(tmp_path / "m")
    assert pack(folder, source) == pack(folder, source)


def test_a_copy_has_the_same_digest(tmp_path: Path) -> None:
    one = open_source(f"oci:{tmp_path / 'one'}", writable=True)
    two = open_source(f"oci:{tmp_path / 'two'}", writable=True)
    _, digest = pack(make_model(tmp_path / "m"), one)
    copy(one, two, NAME, digest, "1.0.0")
    assert two.find(NAME, "1.0.0") == digest
    assert two.manifest(NAME, digest) == one.manifest(NAME, digest)


def test_a_golden_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", x=np.array([{"code": 1}], dtype=object))
    with pytest.raises(UsageError, match="only plain numbers"):
        read_headers(tmp_path / "bad.npz")


def test_a_golden_without_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(UsageError):
        read_headers(tmp_path / "empty.npz")


def test_a_golden_names_its_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", lidar=np.ones(3), tokens=np.ones(2, np.int64))
    assert tuple(read_headers(tmp_path / "good.npz")) == ("lidar", "tokens")


def test_a_stored_copy_can_be_packed_again(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    (folder / "manifest.json").write_text("{}")
    _, files = check_folder(folder)
    assert "manifest.json" not in files
