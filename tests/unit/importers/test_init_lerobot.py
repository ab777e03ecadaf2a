"""`homeport model init` from a LeRobot policy directory: what its files say, without LeRobot and without PyTorch."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomllib

from model_registry.core.contract import Contract, Golden
from model_registry.core.contract.graphs import Graph, GraphTensor, Loop
from model_registry.core.contract.observation import STATISTICS
from model_registry.core.contract.output import ActionOutput
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader
from model_registry.core.errors import HomeportError, NotFoundError, RefusedError, UsageError
from stack.importers.graph_part import MARK, graph_part, replace_part
from stack.importers.hints import Dataset, Hints, Words
from stack.importers.init import InitResult, init
from stack.importers.lerobot.directory import PolicyDirectory
from stack.importers.lerobot.draft import write_statistics
from stack.importers.safetensors import read_tensors
from tests.fakes.lerobot_directory import JOINTS, documents, safetensors, statistics, write

NAMES = [f"joint_{number}.pos" for number in range(JOINTS)]
BARE = [name.removesuffix(".pos") for name in NAMES]
INFO = {"fps": 30, "features": {name: {"names": NAMES} for name in ("observation.state", "action")}}
WORDS = {"model": {"type": "BPE"}, "padding": {"pad_id": 2, "direction": "Left"}}


def hints(folder: Path) -> Hints:
    (folder / "info.json").write_text(json.dumps(INFO))
    (folder / "words.json").write_text(json.dumps(WORDS))
    return Hints(dataset=Dataset.load(folder / "info.json"), words=Words.load(folder / "words.json"))


def drafted(
    folder: Path, kind: str, given: Hints | None = None, name: str = "lab/arm"
) -> tuple[InitResult, dict[str, Any]]:
    made = init([write(folder / kind, documents(kind))], folder / "model", given or Hints(), name)
    return made, tomllib.loads((folder / "model" / "vla.toml").read_text())


def test_act_is_as_it_was_trained(tmp_path: Path) -> None:
    made, found = drafted(tmp_path, "act", hints(tmp_path))

    camera = {"width": 128, "height": 96, "mean": [0.48] * 3, "std": [0.22] * 3}
    assert found["observation"] == {
        "cameras": {"front": camera, "wrist": camera},
        "state": {
            "parts": [{"of": "joint_position", "names": BARE, "unit": "?"}],
            "normalise": "mean_std",
        },
    }
    action = found["action"]
    assert (action["horizon"], action["execute_steps"], action["control_hz"]) == (16, 8, 30.0)
    assert (action["space"], action["relative"], action["normalise"]) == ("joint_position", "no", "mean_std")
    assert action["dims"][0] == {"name": "joint_0", "unit": "?", "min": -89.0, "max": 91.0}
    rows = json.loads((made.folder / "norm_stats.json").read_text())
    assert rows["action"]["joint_1"] == {"mean": 1.6, "std": 3.1, "min": -88.9, "max": 91.1, "q01": -78.9, "q99": 86.1}
    assert rows["state"]["joint_position.joint_5"]["mean"] == 1.0


def test_diffusion_looks_back_and_gives_what_lerobot_gives(tmp_path: Path) -> None:
    _, found = drafted(tmp_path, "diffusion", hints(tmp_path))

    front = found["observation"]["cameras"]["front"]
    assert (front["frames"], front["every_s"]) == ([-1, 0], 1 / 30)
    state = found["observation"]["state"]
    assert (state["frames"], state["every_s"], state["normalise"]) == ([-1, 0], 1 / 30, "min_max")
    assert found["observation"]["noise"] == {"shape": [1, 16, JOINTS]}
    assert (found["action"]["horizon"], found["action"]["normalise"]) == (8, "min_max")


def test_smolvla_sees_letterboxed_images_and_words_with_a_new_line(tmp_path: Path) -> None:
    made, found = drafted(tmp_path, "smolvla", hints(tmp_path))

    half = [0.5, 0.5, 0.5]
    assert found["observation"]["cameras"]["wrist"] == {
        "width": 64,
        "height": 48,
        "fit": "letterbox",
        "anchor": "bottom_right",
        "pad": 0,
        "resize": "linear_float32",
        "mean": half,
        "std": half,
    }
    assert found["observation"]["text"] == {
        "tokenizer": "tokenizer.json",
        "length": 16,
        "dtype": "int64",
        "pad_id": 2,
        "pad_side": "right",
        "template": "{text}\n",
        "mask": "bool",
        "closed": False,
    }
    assert found["observation"]["noise"] == {"shape": [1, 16, 32]}
    assert found["action"]["normalise"] == "quantiles"
    assert "tokenizer.json" in made.files


@pytest.mark.parametrize("kind", ["act", "diffusion", "smolvla"])
def test_what_the_directory_does_not_say_is_asked_and_the_comment_says_where_it_was_looked_for(
    kind: str, tmp_path: Path
) -> None:
    made, found = drafted(tmp_path, kind)
    text = " ".join(line.removeprefix("# ") for line in (made.folder / "vla.toml").read_text().splitlines())

    dims = found["action"]["dims"]
    assert {dim["name"] for dim in dims} == {dim["unit"] for dim in dims} == {"?"}
    assert len(dims) == JOINTS
    assert found["action"]["control_hz"] == found["embodiment"] == found["licence"] == "?"
    assert "actions a second; no --dataset was given" in text
    assert "norm_stats.json" not in made.files
    assert "`homeport model export` makes it, when the names below are known" in text
    assert any("vla.toml.graphs[0].id: is not known yet" in each for each in made.unknown)
    if kind == "smolvla":
        assert "the tokenizer.json of 'lab/words', which the policy names; no --tokenizer was given" in text
        assert found["observation"]["text"]["pad_id"] == found["observation"]["text"]["closed"] == "?"


def test_numbers_without_statistics_pass_unchanged_as_in_lerobot(tmp_path: Path) -> None:
    folder = write(tmp_path / "act", documents("act"), tensors={})
    init([folder], tmp_path / "model", hints(tmp_path))
    found = tomllib.loads((tmp_path / "model" / "vla.toml").read_text())

    assert found["action"]["normalise"] == found["observation"]["state"]["normalise"] == "none"
    assert "statistics" not in found
    assert "mean" not in found["observation"]["cameras"]["front"]
    assert found["action"]["dims"][0]["min"] == "?"


def test_images_between_their_ends_become_mean_and_spread(tmp_path: Path) -> None:
    written = documents("act")
    preprocessor(norm_map={"VISUAL": "MIN_MAX", "STATE": "IDENTITY", "ACTION": "IDENTITY"})(written)
    init([write(tmp_path / "act", written)], tmp_path / "model", Hints())
    found = tomllib.loads((tmp_path / "model" / "vla.toml").read_text())

    front = found["observation"]["cameras"]["front"]
    assert (front["mean"], front["std"]) == ([0.5] * 3, [0.5] * 3), "2(x - 0)/(1 - 0) - 1"
    assert found["observation"]["state"]["normalise"] == "none"
    assert found["action"]["normalise"] == "mean_std", "the postprocessor decides about actions"


def changed(folder: Path, kind: str, *changes: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The contract of a directory whose documents were changed."""
    written = documents(kind)
    for change in changes:
        change(written)
    init([write(folder / kind, written)], folder / "model", hints(folder))
    return tomllib.loads((folder / "model" / "vla.toml").read_text())


def test_deciles_are_quantiles_at_other_places(tmp_path: Path) -> None:
    found = changed(tmp_path, "act", preprocessor(norm_map={"STATE": "QUANTILE10", "VISUAL": "IDENTITY"}))

    assert found["observation"]["state"]["normalise"] == "quantiles"
    rows = json.loads((tmp_path / "model" / "norm_stats.json").read_text())
    assert (rows["state"]["joint_position.joint_0"]["q01"], rows["state"]["joint_position.joint_0"]["q99"]) == (-60, 65)
    assert rows["action"]["joint_0"]["q01"] == -79.0


def test_only_what_a_pipeline_lists_is_normalised(tmp_path: Path) -> None:
    features = {"observation.images.front": {"type": "VISUAL", "shape": [3, 96, 128]}}
    found = changed(tmp_path, "act", preprocessor(features=features))

    assert found["observation"]["state"]["normalise"] == "none"
    assert "mean" in found["observation"]["cameras"]["front"]
    assert "mean" not in found["observation"]["cameras"]["wrist"]


def test_a_pipeline_may_list_the_keys_that_it_normalises(tmp_path: Path) -> None:
    found = changed(tmp_path, "act", preprocessor(normalize_observation_keys=["observation.state"]))

    assert found["observation"]["state"]["normalise"] == "mean_std"
    assert "mean" not in found["observation"]["cameras"]["front"]


def test_smolvla_without_a_box_takes_images_as_they_are(tmp_path: Path) -> None:
    front = changed(tmp_path, "smolvla", config(resize_imgs_with_padding=None))["observation"]["cameras"]["front"]

    assert front == {"width": 128, "height": 96, "mean": [0.5] * 3, "std": [0.5] * 3}


def test_cameras_that_smolvla_only_pads_with_are_left_out(tmp_path: Path) -> None:
    empty = {"observation.images.empty_camera_0": {"type": "VISUAL", "shape": [3, 480, 640]}}
    found = changed(tmp_path, "smolvla", lambda written: written["config.json"]["input_features"].update(empty))

    assert list(found["observation"]["cameras"]) == ["front", "wrist"]


def test_the_tokenizer_that_a_policy_names_is_taken_where_it_is_here(tmp_path: Path) -> None:
    words = tmp_path / "vlm"
    words.mkdir()
    model = {"type": "BPE", "vocab": {"go": 5, "<fill>": 9}, "unk_token": "<unk>"}
    (words / "tokenizer.json").write_text(json.dumps({"model": model, "pre_tokenizer": {"type": "ByteLevel"}}))
    (words / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<fill>"}}))
    written = documents("smolvla")
    written["policy_preprocessor.json"]["steps"][3]["config"]["tokenizer_name"] = str(words)
    init([write(tmp_path / "smolvla", written)], tmp_path / "model", Hints())
    text = tomllib.loads((tmp_path / "model" / "vla.toml").read_text())["observation"]["text"]

    assert (text["tokenizer"], text["pad_id"], text["closed"]) == ("tokenizer.json", 9, False)
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (words / "tokenizer.json").read_bytes()


def test_a_feature_that_lerobot_renames_is_told(tmp_path: Path) -> None:
    written = documents("act")
    written["policy_preprocessor.json"]["steps"][0]["config"]["rename_map"] = {"top": "observation.images.front"}
    init([write(tmp_path / "act", written)], tmp_path / "model", Hints())

    assert "which LeRobot renames from top" in (tmp_path / "model" / "vla.toml").read_text()


def preprocessor(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(written: dict[str, Any]) -> None:
        written["policy_preprocessor.json"]["steps"][-1]["config"] |= changes

    return change


def config(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda written: written["config.json"].update(changes)


def doubled(written: dict[str, Any]) -> None:
    steps = written["policy_preprocessor.json"]["steps"]
    steps.append(dict(steps[-1]))


def gray(written: dict[str, Any]) -> None:
    written["config.json"]["input_features"]["observation.images.front"]["shape"] = [1, 96, 128]


def flat(written: dict[str, Any]) -> None:
    written["config.json"]["input_features"]["observation.state"]["shape"] = [2, 3]


def normalised_twice(written: dict[str, Any]) -> None:
    preprocessor(norm_map={"VISUAL": "MEAN_STD"})(written)


def outside(written: dict[str, Any]) -> None:
    written["policy_preprocessor.json"]["steps"][-1]["state_file"] = "../other.safetensors"


REFUSALS: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "another_policy": ("act", config(type="pi0_fast"), "a policy of type 'pi0_fast' cannot be exported"),
    "another_step": (
        "act",
        lambda written: written["policy_preprocessor.json"]["steps"].append({"registry_name": "groot_pack_inputs_v3"}),
        "the step 'groot_pack_inputs_v3' is not known here",
    ),
    "another_mode": ("act", preprocessor(norm_map={"STATE": "MEDIAN"}), "STATE is normalised by 'MEDIAN'"),
    "half_numbers": (
        "act",
        lambda written: written["policy_preprocessor.json"]["steps"][2]["config"].update(float_dtype="float16"),
        "policy_preprocessor.json: float_dtype 'float16' of device_processor cuts numbers off",
    ),
    "another_epsilon": ("act", preprocessor(eps=1e-6), "eps is 1e-06"),
    "normalised_twice": ("act", doubled, "normalizer_processor comes 2 times"),
    "normalised_images": ("smolvla", normalised_twice, "set VISUAL to IDENTITY"),
    "no_steps": ("act", config(n_action_steps=None), "n_action_steps is None, and a whole number"),
    "no_box": ("smolvla", config(resize_imgs_with_padding=[64]), "resize_imgs_with_padding is [64]"),
    "gray": ("act", gray, "[3, height, width] is wanted"),
    "flat": ("act", flat, "one row of numbers is wanted"),
    "outside": ("act", outside, "expected a plain relative path"),
}


@pytest.mark.parametrize(("kind", "spoil", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_homeport_cannot_do_as_lerobot_does_is_refused_by_name(
    kind: str, spoil: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    written = documents(kind)
    spoil(written)
    try:
        folder = write(tmp_path / "policy", written)
    finally:
        (tmp_path / "other.safetensors").unlink(missing_ok=True)

    with pytest.raises(HomeportError) as refused:
        init([folder], tmp_path / "model", Hints())

    assert words in str(refused.value)
    assert not (tmp_path / "model").exists()


def test_a_directory_comes_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "act", documents("act"))

    with pytest.raises(UsageError, match="one LeRobot policy directory alone"):
        init([folder, folder], tmp_path / "model", Hints())


BROKEN = {
    "empty": b"",
    "short": b"\x10",
    "cut_header": struct.pack("<Q", 400) + b"{}",
    "no_json": struct.pack("<Q", 2) + b"[[",
    "a_list": struct.pack("<Q", 2) + b"[]",
    "cut": safetensors({"action.mean": ([6], [1.0] * 6)})[:-4],
    "huge": struct.pack("<Q", 1 << 62) + b"{}",
    "beyond": safetensors({"a": ([2], [1.0, 2.0])}).replace(b"[2]", b"[9]"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_of_statistics_is_said(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)

    with pytest.raises(UsageError, match="is not a safetensors file"):
        read_tensors(tmp_path / "x.safetensors")


def test_a_file_of_statistics_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="copy the directory again"):
        read_tensors(tmp_path / "x.safetensors")


def test_numbers_are_the_shortest_that_are_the_same_in_32_bits(tmp_path: Path) -> None:
    given = [0.1, 1 / 3, -0.0, 1e-30, 16777216.0, 3.4e38]
    (tmp_path / "x.safetensors").write_bytes(safetensors({"a": ([6], given)}, format="pt"))

    read = read_tensors(tmp_path / "x.safetensors")["a"]

    assert read.shape == (6,)
    assert read.numbers[0] == 0.1
    assert struct.pack("<6f", *read.numbers) == struct.pack("<6f", *given)


def test_nothing_of_pytorch_or_lerobot_is_loaded(tmp_path: Path) -> None:
    before = set(sys.modules)
    drafted(tmp_path, "act")

    assert not {"torch", "lerobot", "safetensors"} & (sys.modules.keys() - before)


LOOK = Graph(
    "look",
    "look.onnx",
    "frame",
    tuple(
        GraphTensor(name, "", (), source)
        for name, source in (("front", "cameras.front"), ("wrist", "cameras.wrist"), ("q", "state"))
    ),
    (GraphTensor("seen", "float32", (1, 8)),),
)
ACT = Graph(
    "denoise",
    "denoise.onnx",
    "step",
    (GraphTensor("seen", "", (), "look.seen"), GraphTensor("x", "", (), "x"), GraphTensor("t", "", (), "time")),
    (GraphTensor("v", "float32", (1, 16, 6)),),
    explicit=("t",),
)
LOOP = Loop("ddim", (90.0, 40.0), "denoise.v", "int64", (0.1, 0.5, 1.0), "epsilon", 1.0)
OUTPUT = ActionOutput("x", 1, tuple(range(JOINTS)))
GOLDENS = (Golden("golden/one.npz", {"fp32": (0.5,) * JOINTS}),)


def filled(folder: Path) -> Path:
    """A drafted diffusion policy in which a person has written what was unknown."""
    made, _ = drafted(folder, "diffusion", hints(folder))
    file = made.folder / "vla.toml"
    text = file.read_text().replace('unit = "?"', 'unit = "deg"').replace('licence = "?"', 'licence = "Apache-2.0"')
    file.write_text(text.replace('embodiment = "?"', 'embodiment = "arm"  # mine'))
    return made.folder


def test_an_export_writes_the_last_part_and_leaves_what_a_person_wrote(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    above = (folder / "vla.toml").read_text().partition(MARK)[0]
    for _ in range(2):
        replace_part(folder, graph_part((LOOK, ACT), LOOP, OUTPUT, GOLDENS))

    text = (folder / "vla.toml").read_text()
    assert text.startswith(above) and text.count(MARK) == 1
    document = tomllib.loads(text)
    document["files"] = {
        name: str(Digest.of(b"")) for name in ("look.onnx", "denoise.onnx", "golden/one.npz", "norm_stats.json")
    }
    contract = Contract.read(Reader(document, "vla.toml"))
    assert [graph.id for graph in contract.graphs] == ["look", "denoise"]
    assert (contract.loop, contract.output, contract.goldens) == (LOOP, OUTPUT, GOLDENS)
    assert contract.graphs[1].inputs[2].shape == (), "a time that is one number and no row"


def test_an_export_into_another_folder_is_refused(tmp_path: Path) -> None:
    part = graph_part((LOOK,), None, OUTPUT, ())
    with pytest.raises(NotFoundError, match="run `homeport model init` first"):
        replace_part(tmp_path, part)
    (tmp_path / "vla.toml").write_text("schema = 2\n")
    with pytest.raises(RefusedError, match="has no line"):
        replace_part(tmp_path, part)


def test_statistics_are_listed_by_the_names_that_a_person_wrote(tmp_path: Path) -> None:
    made, _ = drafted(tmp_path, "act")
    directory = PolicyDirectory.read(tmp_path / "act")
    with pytest.raises(RefusedError, match='are still "\\?"; write them, then export again'):
        write_statistics(made.folder, directory)
    text = (made.folder / "vla.toml").read_text().replace('names = "?"', f"names = {json.dumps(BARE)}")
    for name in BARE:
        text = text.replace('name = "?", unit', f'name = "{name}", unit', 1)
    (made.folder / "vla.toml").write_text(text.replace('of = "?"', 'of = "gripper"'))
    write_statistics(made.folder, directory)

    rows = json.loads((made.folder / "norm_stats.json").read_text())
    assert set(rows["action"]) == set(BARE)
    assert set(rows["state"]) == {f"gripper.{name}" for name in BARE}
    assert set(STATISTICS["mean_std"]) <= rows["action"]["joint_0"].keys()


def test_statistics_of_another_number_of_names_are_refused(tmp_path: Path) -> None:
    made, _ = drafted(tmp_path, "act", hints(tmp_path))
    file = made.folder / "vla.toml"
    lines = [line for line in file.read_text().splitlines() if 'name = "joint_5"' not in line]
    file.write_text("\n".join(lines))

    with pytest.raises(RefusedError, match=r"action\.dims: 5 names, and the policy has another number"):
        write_statistics(made.folder, PolicyDirectory.read(tmp_path / "act"))


def test_the_statistics_of_tests_are_complete() -> None:
    assert {name.rpartition(".")[2] for name in statistics()} >= {kind for row in STATISTICS.values() for kind in row}
