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
from onnx import TensorProto, external_data_helper, helper

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, RefusedError, UsageError
from model_registry.inspection.vectors import MOST_BYTES
from model_registry.packing import pack, prepare
from model_registry.sources import open_source
from model_registry.store import pull_model
from stack.engine.goldens import read_calibration, read_goldens
from stack.engine.statistics import Statistics
from tests.fakes.model import NAME, contract, golden_arrays, make_model, scan_graph, write_contract
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


def rows(first: str, second: str, low: object = -1.0, high: object = 1.0) -> dict[str, object]:
    """Statistics of both dimensions; those of the second are `low` and `high`."""
    return {"linear_x": {first: 0.0, second: 1.0}, "angular_z": {first: low, second: high}}


def normalised(folder: Path, kind: str, statistics: object) -> Path:
    """A model whose actions are normalised like that, with these statistics as JSON."""
    make_model(folder, size=0)
    (folder / "norm_stats.json").write_text(json.dumps(statistics))
    fields = contract(folder)
    fields["action"]["normalise"] = kind
    write_contract(folder, fields)
    return folder


KINDS = {"mean_std": ("mean", "std"), "min_max": ("min", "max"), "quantiles": ("q01", "q99")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (float("nan"), 1.0, "NaN is not a JSON number"),
        (0.0, float("inf"), "Infinity is not a JSON number"),
        ("0", 1.0, "expected a number, got '0'"),
        (None, 1.0, "expected a number, got None"),
        (0.0, -1.0, "is below"),
    ],
)
def test_statistics_that_say_nothing_are_refused(
    kind: str, low: object, high: object, words: str, tmp_path: Path
) -> None:
    said = refusal(normalised(tmp_path / "m", kind, {"action": rows(*KINDS[kind], low, high)}))
    assert "norm_stats.json: lacks statistics of what this model normalises (" in said and words in said
    assert said.endswith("); write them for each number")


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_that_are_missing_are_refused(kind: str, tmp_path: Path) -> None:
    whole = rows(*KINDS[kind])
    for number, (part, place) in enumerate(
        (
            ({}, "action"),
            ({"action": {"linear_x": whole["linear_x"]}}, "action.angular_z"),
            ({"action": {**whole, "angular_z": {KINDS[kind][0]: 0.0}}}, f"action.angular_z.{KINDS[kind][1]}"),
            ({"action": {**whole, "angular_z": {KINDS[kind][1]: 0.0}}}, f"action.angular_z.{KINDS[kind][0]}"),
        )
    ):
        said = refusal(normalised(tmp_path / str(number), kind, part))
        assert f"(norm_stats.json.{place}: missing)" in said
    assert "expected an object, got list" in refusal(normalised(tmp_path / "list", kind, []))


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_more_numbers_and_those_without_a_spread_pass(kind: str, tmp_path: Path) -> None:
    first, second = KINDS[kind]
    more = {first: 0.0, second: 0.0, "count": 5}
    low = {"mean_std": 0.0, "min_max": 2.0, "quantiles": 2.0}[kind]
    statistics = {"action": {**rows(first, second, 2.0, low), "grip": more}, "state": {"grip": more}}
    folder = normalised(tmp_path / "m", kind, statistics)
    prepare(folder)
    units = Statistics.load(folder, Contract.load(folder)).action
    assert np.isfinite(units.to_network(np.ones((1, 2), np.float32))).all()


def test_nothing_that_is_not_normalised_needs_statistics(tmp_path: Path) -> None:
    prepare(normalised(tmp_path / "m", "none", {}))


def test_statistics_of_the_state_are_looked_into_by_the_names_of_its_parts(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", size=0)
    model = onnx.load(str(folder / GRAPH))
    model.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 2]))
    onnx.save(model, str(folder / GRAPH))
    np.savez(folder / GOLDEN, **golden_arrays(), state=np.zeros((1, 2), np.float32))
    fields = contract(folder)
    parts = [
        {"of": "joint_position", "names": ["elbow"], "unit": "rad"},
        {"of": "effort", "names": ["elbow"], "unit": "Nm"},
    ]
    fields["observation"]["state"] = {"parts": parts, "normalise": "quantiles"}
    fields["graphs"][0]["inputs"]["state"] = "state"
    write_contract(folder, fields)
    assert "norm_stats.json.state: missing" in refusal(folder)
    statistics = json.loads((folder / "norm_stats.json").read_bytes())
    row = {"q01": 0.0, "q99": 1.0}
    for state, words in (
        ({"joint_position.elbow": row}, "norm_stats.json.state.effort.elbow: missing"),
        ({"joint_position.elbow": row, "effort.elbow": row}, ""),
    ):
        (folder / "norm_stats.json").write_text(json.dumps({**statistics, "state": state}))
        fields["files"]["norm_stats.json"] = contract(folder)["files"]["norm_stats.json"]
        write_contract(folder, fields)
        if words:
            assert words in refusal(folder)
        else:
            prepare(folder)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    numbers=st.dictionaries(
        st.sampled_from(["linear_x", "angular_z", "grip"]),
        st.tuples(st.integers(-2, 2), st.integers(-2, 2)),
        max_size=3,
    ),
)
@settings(max_examples=30, deadline=None)
def test_statistics_that_pass_are_read_by_an_engine_and_give_finite_numbers(
    kind: str, numbers: dict[str, tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, second = KINDS[kind]
    action = {name: {first: low, second: high} for name, (low, high) in numbers.items()}
    folder = normalised(tmp_path_factory.mktemp("norm") / "m", kind, {"action": action})
    try:
        prepare(folder)
    except RefusedError as error:
        assert "norm_stats.json" in str(error)
    else:
        units = Statistics.load(folder, Contract.load(folder)).action
        back = units.to_units(units.to_network(np.array([0.5, -0.5], np.float32)))
        assert np.isfinite(back).all()
    if not {"linear_x", "angular_z"} <= numbers.keys():
        with pytest.raises(UsageError, match=r"norm_stats\.json\.action"):
            Statistics.load(folder, Contract.load(folder))


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
    np.savez_compressed(path, **golden_arrays())
    data = path.read_bytes()
    sized = (8 * 2 * 4 + 128).to_bytes(4, "little")
    assert sized in data
    path.write_bytes(data.replace(sized, (130).to_bytes(4, "little")))


def arrays(**given: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **given)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"\x00\x00\x20\x41" * 8)  # ranges of 10.0
    data[place] ^= 1
    path.write_bytes(data)


def prefixed(path: Path) -> None:
    path.write_bytes(b"#!" + path.read_bytes())


def without(name: str) -> Callable[[Path], None]:
    """A golden that lacks an array."""
    return lambda path: np.savez(path, **{key: value for key, value in golden_arrays().items() if key != name})


def other(**given: np.ndarray) -> Callable[[Path], None]:
    """A golden with other arrays; _ in a name stands for a dot."""
    named = {name.replace("_", "."): value for name, value in given.items()}
    return lambda path: np.savez(path, **{**golden_arrays(), **named})


ACTION = np.zeros((1, 8, 2), np.float32)
RANGES = np.full((1, 360), 10.0, np.float32)
LIMITS = np.zeros((1, 4))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (bomb, f"unpacks to more than {MOST_BYTES >> 20} MiB; split it"),
        (liar, "npz"),
        (prefixed, "is not a readable .npz file (it does not begin like one)"),
        (cut, "is not a readable .npz file ("),
        (flip, "is not a readable .npz file (Bad CRC-32"),
        (arrays(), "holds no arrays"),
        (without("action"), "has no array 'action', only lidar.limits, lidar.ranges, text; add it under that name"),
        (without("text"), "has no array 'text', only action, lidar.limits, lidar.ranges; add it under that name"),
        (without("lidar.ranges"), "has no array 'lidar.ranges', only action, lidar.limits, text"),
        (other(tokens=ACTION), "has an array 'tokens' that vla.json does not ask for; rename it to one of text, lidar"),
        (other(action=ACTION[:, :4]), "its array 'action' is [1, 4, 2], and vla.json wants [sets, 8, 2]; make them"),
        (other(action=ACTION[0]), "its array 'action' is [8, 2], and vla.json wants [sets, 8, 2]"),
        (other(action=ACTION[:0]), "its array 'action' is empty"),
        (other(action=np.float32(0)), "its array 'action' is empty"),
        (
            other(action=np.repeat(ACTION, 2, 0)),
            "its array 'action' has 2 sets and 'text' 1; give each the same number",
        ),
        (other(action=ACTION.astype(np.int64)), "its array 'action' holds <i8, and numbers are wanted"),
        (other(action=ACTION.astype(complex)), "only plain numbers and words are allowed"),
        (other(action=np.array([{}])), "'action.npy' in it holds '|O'; only plain numbers and words are allowed"),
        (other(text=np.array(["go"], object)), "'text.npy' in it holds '|O'; only plain numbers and words are allowed"),
        (other(text=np.array([b"go"])), "'text.npy' in it holds '|S2'; only plain numbers and words are allowed"),
        (other(text=np.array(["go", "on"])), "its array 'lidar.ranges' has 1 sets and 'text' 2"),
        (other(text=np.array([["go"]])), "its array 'text' is [1, 1], and vla.json wants [sets]"),
        (other(text=np.zeros((1, 8), np.int64)), "its array 'text' holds <i8, and words are wanted"),
        (other(lidar_ranges=RANGES[:, :0]), "its array 'lidar.ranges' is [1, 0], and vla.json wants [sets, any]"),
        (other(lidar_ranges=RANGES.astype(np.uint8)), "its array 'lidar.ranges' holds |u1, and numbers are wanted"),
        (other(lidar_limits=LIMITS[:, :3]), "its array 'lidar.limits' is [1, 3], and vla.json wants [sets, 4]"),
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


@pytest.mark.parametrize("text", ["", "go", "gehe zur roten Säule", "红色", "🟥" * 300])
@pytest.mark.parametrize("float_type", [np.float16, np.float32, np.float64])
def test_words_are_unicode_and_numbers_of_any_width(text: str, float_type: type, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", size=0)
    given = {**golden_arrays(2), "text": np.array([text, "stop"])}
    given["action"] = given["action"].astype(float_type)
    np.savez_compressed(folder / GOLDEN, **given)
    relist(folder)
    prepare(folder)
    samples = read_goldens(folder, Contract.load(folder), "fp32")
    assert [sample.seen.text for sample in samples] == [text, "stop"]


def test_calibration_data_is_looked_into_as_well(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m", size=0)
    given = golden_arrays(3)
    for arrays_of_it, words in (
        ({**given, "lidar.limits": np.zeros((3, 5))}, "its array 'lidar.limits' is [3, 5], and vla.json wants"),
        ({name: given[name] for name in ("text", "lidar.ranges")}, "has no array 'lidar.limits'"),
        ({**given, "extra": np.zeros(3)}, "has an array 'extra' that vla.json does not ask for"),
        (given, ""),
        ({name: given[name] for name in given if name != "action"}, ""),
    ):
        np.savez(folder / "calibration.npz", **arrays_of_it)
        write_contract(folder, {**contract(folder), "calibration": ["calibration.npz"]})
        if words:
            assert f"calibration.npz: {words}" in refusal(folder)
        else:
            prepare(folder)
            assert len(read_calibration(folder, Contract.load(folder))) == 3


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
