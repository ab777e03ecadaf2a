"""Weights in other files, pointers in the place of files, goldens, tokenizers and normalisations before packing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import external_data_helper

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.inspection.vectors import MOST_BYTES
from model_registry.packing import pack, prepare
from model_registry.sources import open_source
from model_registry.store import pull_model
from stack.engine import goldens
from stack.engine.normalization import Normalization
from tests.fakes.model import NAME, contract, make_model, scan_graph, write_contract
from tests.fakes.odd_graphs import GRAPH, file_each, one_file, put, relist, with_graph

DATA = f"{GRAPH}.data"
GOLDEN = "golden/forward.npz"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 206765304\n"
XET = b"# xet version 0\nfilesize = 206765304\nhash = '" + b"0" * 64 + b"'\n"


def refusal(folder: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        prepare(folder)
    return str(caught.value)


def entries(folder: Path, **values: str) -> Path:
    """Change what the first tensor of a graph says about its place."""
    model = onnx.load(str(folder / GRAPH), load_external_data=False)
    first = model.graph.initializer[0]
    said = {item.key: item.value for item in first.external_data} | values
    del first.external_data[:]
    for key, value in said.items():
        first.external_data.add(key=key, value=value)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    relist(folder)
    return folder


@pytest.mark.parametrize("save", [one_file(), one_file(location="weights.onnx_data"), file_each()])
def test_weights_in_any_number_of_files_are_packed_with_them(save: dict[str, object], tmp_path: Path) -> None:
    folder = with_graph(tmp_path / "m", **save)
    source = open_source(f"oci:{tmp_path / 'r'}", writable=True)
    _, digest = pack(folder, source)
    pulled = pull_model(source, NAME, digest, tmp_path / "models").path
    model = onnx.load(str(pulled / GRAPH))
    assert [tensor.raw_data for tensor in model.graph.initializer] == [
        tensor.raw_data for tensor in scan_graph().graph.initializer
    ]


OUTSIDE = {
    "/etc/hostname": "its numbers lie in '/etc/hostname', which is not a path inside of the model",
    "../away.data": "its numbers lie in '../away.data', which is not a path inside of the model",
    "golden/../../away.data": "which is not a path inside of the model",
    "": "its numbers lie in '', which is not a path inside of the model",
    "other.data": "its numbers lie in other.data, which vla.json does not list; copy that file here",
    "tokenizer.json": "its numbers lie in tokenizer.json, which is not called like weights (NAME.data)",
}


@pytest.mark.parametrize("location", OUTSIDE)
def test_weights_outside_of_the_model_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "away.data").write_bytes(bytes(10_000))
    said = refusal(entries(with_graph(tmp_path / "m", **one_file()), location=location))
    assert f"{GRAPH}: tensor 'w'" in said and OUTSIDE[location] in said


def test_a_link_is_no_file_of_a_model(tmp_path: Path) -> None:
    folder = with_graph(tmp_path / "m", **one_file())
    (folder / DATA).rename(tmp_path / "away.data")
    (folder / DATA).symlink_to(tmp_path / "away.data")
    assert "not a plain file" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"length": "12"}, "it says 12 bytes in policy.onnx.data, and its shape [90, 16] asks for 5760"),
        ({"length": "many"}, "it says many bytes"),
        ({"offset": "100000"}, "its 5760 bytes begin at 100000 of policy.onnx.data, which has"),
        ({"offset": "-4"}, "its 5760 bytes begin at -1 of"),
    ],
)
def test_a_place_that_does_not_hold_the_tensor_is_refused(values: dict[str, str], words: str, tmp_path: Path) -> None:
    assert words in refusal(entries(with_graph(tmp_path / "m", **one_file()), **values))


@given(cut=st.integers(1, 5_000))
@settings(max_examples=30, deadline=None)
def test_weights_that_are_cut_off_anywhere_are_refused(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = with_graph(tmp_path_factory.mktemp("cut") / "m", **one_file())
    whole = (folder / DATA).read_bytes()
    assert "the file is cut off or of another graph" in refusal(put(folder, DATA, whole[:-cut]))


def test_one_sentence_for_all_tensors_of_a_file_that_is_missing(tmp_path: Path) -> None:
    folder = with_graph(tmp_path / "m", **one_file())
    (folder / DATA).unlink()
    relist(folder)
    said = refusal(folder)
    assert "tensor 'w' and 2 others: its numbers lie in policy.onnx.data, which vla.json does not list" in said
    assert "things to fix" not in said


@pytest.mark.parametrize(("data", "kind"), [(LFS, "Git LFS"), (XET, "Xet")])
@pytest.mark.parametrize("path", [GRAPH, DATA, "tokenizer.json", "norm_stats.json", GOLDEN])
def test_a_pointer_says_how_to_fetch_the_file(data: bytes, kind: str, path: str, tmp_path: Path) -> None:
    said = refusal(put(with_graph(tmp_path / "m", **one_file()), path, data))
    assert f"{path}: is a pointer of {kind} in the place of the file of 206,765,304 bytes" in said
    assert "git lfs pull" in said and "things to fix" not in said


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"[1]", b'{"version": "1.0", "model": {"type": "Dream"}}'])
def test_a_tokenizer_that_does_not_load_is_refused(data: bytes, tmp_path: Path) -> None:
    said = refusal(put(make_model(tmp_path / "m", size=0), "tokenizer.json", data))
    assert "tokenizer.json: is not a tokenizer that loads (" in said and "Tokenizer.save" in said


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"action": {"linear_x": {"mean": 0, "std": 1}}}',
        b'{"action": {"linear_x": {"mean": 0, "std": -1}, "angular_z": {"mean": 0, "std": 1}}}',
        b'{"action": {"linear_x": {"mean": NaN, "std": 1}, "angular_z": {"mean": 0, "std": 1}}}',
        b'{"action": {"linear_x": {"mean": "0", "std": 1}, "angular_z": {"mean": 0, "std": 1}}}',
        b'{"action": {"linear_x": {"mean": 0, "std": 1}, "angular_z": {"mean": 0, "std": 1}}, "state": {}}',
    ],
)
def test_a_normalisation_that_a_robot_would_not_read_is_refused(data: bytes, tmp_path: Path) -> None:
    folder = put(make_model(tmp_path / "m", size=0), "norm_stats.json", data)
    assert "norm_stats.json: is not a normalisation of this model's actions (" in refusal(folder)


@given(rows=st.dictionaries(st.sampled_from(["linear_x", "angular_z", "grip"]), st.integers(0, 3), max_size=3))
@settings(max_examples=30, deadline=None)
def test_what_passes_as_a_normalisation_is_one_that_an_engine_reads(
    rows: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = json.dumps({"action": {name: {"mean": size, "std": size} for name, size in rows.items()}})
    folder = put(make_model(tmp_path_factory.mktemp("norm") / "m", size=0), "norm_stats.json", text.encode())
    try:
        Normalization.load(folder, Contract.load(folder))
    except UsageError:
        assert "norm_stats.json" in refusal(folder)
    else:
        prepare(folder)


def bomb(path: Path) -> None:
    """A golden of a few kilobytes that unpacks to more than a robot reads."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("lidar.npy", "w", force_zip64=True) as file,
    ):
        for _ in range((MOST_BYTES >> 20) + 1):
            file.write(bytes(1 << 20))


def liar(path: Path) -> None:
    """A golden whose directory says a few bytes, and which unpacks to more."""
    np.savez_compressed(path, lidar=np.ones((1, 90), np.float32), action=np.zeros((8, 2), np.float32))
    data = path.read_bytes()
    sized = (8 * 2 * 4 + 128).to_bytes(4, "little")
    path.write_bytes(data.replace(sized, (130).to_bytes(4, "little")))


def arrays(**given: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **given)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"\x00\x00\x80\x3f" * 8)
    data[place] ^= 1
    path.write_bytes(data)


def prefixed(path: Path) -> None:
    path.write_bytes(b"#!" + path.read_bytes())


LIDAR = np.ones((1, 90), np.float32)
ACTION = np.zeros((8, 2), np.float32)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (bomb, f"unpacks to more than {MOST_BYTES >> 20} MiB; split it"),
        (liar, "npz"),
        (prefixed, "is not a readable .npz file (it does not begin like one)"),
        (cut, "is not a readable .npz file ("),
        (flip, "is not a readable .npz file (Bad CRC-32"),
        (arrays(), "holds no arrays"),
        (arrays(lidar=LIDAR), "has no array 'action', only lidar"),
        (arrays(action=ACTION), "has no array 'lidar', only action"),
        (arrays(lidar=LIDAR[:, :80], action=ACTION), "its array 'lidar' is [1, 80], and vla.json says [1, 90]"),
        (arrays(lidar=LIDAR, action=ACTION[:4]), "its array 'action' is empty"),
        (arrays(lidar=LIDAR, action=ACTION.astype(complex)), "only plain numbers are allowed"),
        (arrays(lidar=LIDAR, action=np.array([{}])), "only plain numbers are allowed"),
    ],
)
def test_a_golden_that_a_robot_could_not_read_is_refused(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "m", size=0)
    spoil(folder / GOLDEN)
    relist(folder)
    said = refusal(folder)
    assert f"{GOLDEN}: " in said and words in said


def test_calibration_data_is_looked_into_as_well(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", size=0)
    np.savez(folder / "calibration.npz", lidar=np.ones((3, 80), np.float32))
    write_contract(folder, {**contract(folder), "calibration": ["calibration.npz"]})
    assert "calibration.npz: its array 'lidar' is [3, 80], and vla.json says [1, 90]" in refusal(folder)


def test_a_robot_reads_what_passed_here() -> None:
    assert goldens._MAX_BYTES == MOST_BYTES


@pytest.mark.parametrize("name", ["onnx", "tokenizers"])
def test_a_missing_library_is_one_clear_error(name: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", size=0)
    program = (
        f"import runpy, sys\nsys.modules[{name!r}] = None\nrunpy.run_module('model_registry.cli', run_name='__main__')"
    )
    words = ["model", "pack", str(folder), "--source", f"oci:{tmp_path / 'r'}"]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, check=False, cwd=root
    )
    assert done.returncode == HomeportError.exit_code
    assert re.fullmatch(
        rf"error: models are looked into with {name} .*; run pip install 'homeport\[controller\]'.*\n", done.stderr
    )


def test_nothing_of_a_model_is_read_into_memory_whole(tmp_path: Path) -> None:
    """A weight of 64 GiB in a file with holes is measured, not read."""
    folder = with_graph(tmp_path / "m", **one_file())
    model = onnx.load(str(folder / GRAPH), load_external_data=False)
    tensor = model.graph.initializer[2]
    assert external_data_helper.uses_external_data(tensor)
    tensor.dims[:] = [1 << 36]
    with (folder / DATA).open("r+b") as file:
        file.truncate(1 << 20)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    relist(folder)
    entries(folder)
    assert "tensor 'ballast': it says 0 bytes" in refusal(folder)
