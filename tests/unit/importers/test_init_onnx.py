"""`homeport model init` from ONNX files: what is told by names and shapes, and what is asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomllib
from onnx import numpy_helper

from model_registry.cli.entry import run
from stack.cli import build
from stack.models.commands import tokenizer_json
from tests.fakes.foreign import BOOL, DOUBLE, FLOAT, HALF, INT32, INT64, UINT8, End, foreign, one
from tests.fakes.settings import robot_toml

IMAGE: End = ("image", FLOAT, [1, 3, 96, 128])
INFO = {
    "fps": 30,
    "features": {
        "observation.state": {"dtype": "float32", "shape": [2], "names": ["elbow.pos", "wrist.pos"]},
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["elbow.pos", "wrist.pos"]}},
        "observation.images.top": {"dtype": "video", "shape": [3, 480, 640], "names": ["channels", "height", "width"]},
    },
}
STATS = {
    "action": {"mean": [1.0, 2.0], "std": [0.5, 0.25], "min": [-90.0, -10.0], "max": [90.0, 10.0], "count": [9]},
    "observation.state": {"mean": [3.0, 4.0], "std": [1.0, 1.0]},
    "observation.images.top": {"mean": [[[0.5]], [[0.5]], [[0.5]]]},
}
Init = Callable[..., dict[str, Any]]


class Desk:
    """Calls `homeport model init` in this process, into a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.out = folder / "model"
        self._capture = capture

    def run(self, *words: object) -> tuple[int, str, str]:
        arguments = ["model", "init", *map(str, words), "--out", str(self.out)]
        hook = sys.excepthook
        try:
            code = run(build(arguments), arguments)
        finally:
            sys.excepthook = hook
        out, err = self._capture.readouterr()
        return code, out, err

    def __call__(self, *words: object) -> dict[str, Any]:
        """The drafted contract."""
        code, _, err = self.run(*words)
        assert code == 0, err
        return tomllib.loads(self.text)

    @property
    def text(self) -> str:
        return (self.out / "vla.toml").read_text()

    def dataset(self, info: dict[str, Any] = INFO, stats: dict[str, Any] | None = None) -> Path:
        meta = self.folder / "meta"
        meta.mkdir()
        (meta / "info.json").write_text(json.dumps(info))
        if stats is not None:
            (meta / "stats.json").write_text(json.dumps(stats))
        return meta / "info.json"

    def robot(self, **changes: object) -> Path:
        path = self.folder / "robot.toml"
        path.write_text(robot_toml(**changes))
        return path


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def wires(document: dict[str, Any]) -> dict[str, str]:
    return {name: source for graph in document["graphs"] for name, source in graph["inputs"].items()}


# Inputs of other people's graphs, and what each has to be taken for; "?" where a guess would be a wrong meaning.
GUESSES: dict[str, tuple[list[End], dict[str, str]]] = {
    "image": ([IMAGE], {"image": "cameras.image"}),
    "four_cameras": (
        [(f"observation.images.{name}", FLOAT, [1, 3, 480, 640]) for name in ("top", "left_wrist")],
        {"observation.images.top": "cameras.top", "observation.images.left_wrist": "cameras.left_wrist"},
    ),
    "channels_last": ([("pixels", UINT8, [1, 224, 224, 3])], {"pixels": "cameras.pixels"}),
    "without_batch": ([("rgb", HALF, [3, 64, 64])], {"rgb": "cameras.rgb"}),
    "gray": ([("camera_gray", FLOAT, [1, 1, 64, 64])], {"camera_gray": "cameras.gray"}),
    "a_mask_is_no_image": ([IMAGE, ("attn_bias", FLOAT, [1, 1, 64, 64])], {"image": "cameras.image", "attn_bias": "?"}),
    "goal": (
        [("obs_img", FLOAT, [1, 18, 96, 96]), ("goal_img", FLOAT, [1, 3, 96, 96])],
        {"obs_img": "cameras.img", "goal_img": "goal"},
    ),
    "state": ([("observation.state", FLOAT, [1, 14])], {"observation.state": "state"}),
    "qpos": ([("qpos", FLOAT, [14])], {"qpos": "state"}),
    "not_the_bodys_state": ([("observation.environment_state", FLOAT, [1, 6])], {"observation.environment_state": "?"}),
    "a_row_of_numbers": ([("vector", FLOAT, [1, 90])], {"vector": "?"}),
    "wide_state": ([("state", DOUBLE, [1, 6])], {"state": "?"}),
    "lidar": ([("scan", FLOAT, [1, 360])], {"scan": "lidar"}),
    "words": (
        [("input_ids", INT32, [1, 48]), ("attention_mask", BOOL, [1, 48])],
        {"input_ids": "text", "attention_mask": "text.mask"},
    ),
    "words_of_lerobot": (
        [("observation.language.tokens", INT64, [1, 48]), ("observation.language.attention_mask", BOOL, [1, 48])],
        {"observation.language.tokens": "text", "observation.language.attention_mask": "text.mask"},
    ),
    "a_mask_of_nothing": ([IMAGE, ("mask", BOOL, [1, 3])], {"image": "cameras.image", "mask": "?"}),
    "masks_what_is_not_there": ([("tokens", INT64, [1, 8]), ("padding_mask", BOOL, [1, 8])],
                                {"tokens": "text", "padding_mask": "?"}),
    "tokens_of_actions": ([("action_tokens", INT64, [1, 8])], {"action_tokens": "?"}),
    "noise": ([IMAGE, ("noise", FLOAT, [1, 16, 2])], {"image": "cameras.image", "noise": "noise"}),
    "a_latent_is_no_noise": ([IMAGE, ("latent", FLOAT, [1, 32])], {"image": "cameras.image", "latent": "?"}),
    "chunking": (
        [IMAGE, ("action_prefix", FLOAT, [1, 8, 2]), ("delay", INT64, [1])],
        {"image": "cameras.image", "action_prefix": "prefix", "delay": "delay"},
    ),
    "prefix_of_a_network": ([("prefix_embs", FLOAT, [1, 177, 960])], {"prefix_embs": "?"}),
    "two_of_a_kind": (
        [("state", FLOAT, [1, 6]), ("robot_state", FLOAT, [1, 6])],
        {"state": "state", "robot_state": "?"},
    ),
    "denoiser": (
        [IMAGE, ("noisy_actions", FLOAT, [1, 16, 2]), ("timestep", INT64, [1])],
        {"image": "cameras.image", "noisy_actions": "x", "timestep": "time"},
    ),
    "a_time_alone": ([IMAGE, ("timestep", INT64, [1])], {"image": "cameras.image", "timestep": "?"}),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "sources"), GUESSES.values(), ids=GUESSES)
def test_an_input_is_taken_for_what_its_name_type_and_shape_say(
    inputs: list[End], sources: dict[str, str], desk: Desk
) -> None:
    assert wires(desk(one(desk.folder / "policy.onnx", *inputs))) == sources


def test_nothing_is_invented_and_everything_unknown_is_named(desk: Desk) -> None:
    code, out, err = desk.run(one(desk.folder / "policy.onnx", IMAGE, ("state", FLOAT, [1, 6])), "--json")
    document = tomllib.loads(desk.text)

    assert code == 0
    assert document["action"]["dims"] == [{"name": "?", "unit": "?", "min": "?", "max": "?"}] * 2
    assert document["observation"]["state"]["parts"] == [{"of": "?", "names": "?", "unit": "?"}]
    camera = document["observation"]["cameras"]["image"]
    assert (camera["width"], camera["height"]) == (128, 96)
    assert {key for key, value in camera.items() if value == "?"} == {
        "fit",
        "resize",
        "color",
        "divisor",
        "mean",
        "std",
    }
    for key in ("space", "relative", "normalise", "execute_steps", "control_hz"):
        assert document["action"][key] == "?"
    assert document["action"]["horizon"] == 16
    assert (document["name"], document["embodiment"], document["licence"]) == ("?", "?", "?")
    found = json.loads(out)
    assert found["files"] == ["policy.onnx", "vla.toml"]
    assert len(found["unknown"]) == desk.text.count('"?"') - 1  # the header explains it
    assert f"{len(found['unknown'])} things are not known yet" in err
    assert "Looked in: policy.onnx. Not given: --dataset, --tokenizer, --robot." in desk.text
    assert "no --dataset was given" in desk.text


def test_images_of_several_frames_and_of_whole_levels(desk: Desk) -> None:
    file = foreign(
        desk.folder / "nav.onnx",
        [("obs_img", FLOAT, [1, 18, 96, 96]), ("rear_image", UINT8, [1, 4, 64, 80, 3])],
        [("waypoints", FLOAT, [1, 8, 2]), ("actions", FLOAT, [1, 8, 2])],
    )
    document = desk(file)

    stacked, series = (document["observation"]["cameras"][name] for name in ("img", "rear_image"))
    assert (stacked["frames"], stacked["stack"], stacked["every_s"]) == ([-5, -4, -3, -2, -1, 0], "channels", "?")
    assert (series["frames"], series["stack"], series["layout"], series["dtype"]) == (
        [-3, -2, -1, 0],
        "axis",
        "NHWC",
        "uint8",
    )
    assert not {"divisor", "mean", "std"} & series.keys()
    assert document["output"] == {"from": "nav.actions"}


def test_shapes_without_a_batch_are_kept_and_axes_without_a_size_are_asked(desk: Desk) -> None:
    file = foreign(
        desk.folder / "policy.onnx",
        [
            ("image", FLOAT, ["batch", 3, "height", "width"]),
            ("qpos", FLOAT, [6]),
            ("tokens", INT64, ["batch", "length"]),
        ],
        [("action", FLOAT, ["batch", "chunk", 6])],
    )
    document = desk(file)

    assert document["observation"]["cameras"]["image"]["width"] == "?"
    assert document["observation"]["text"]["length"] == "?"
    assert document["action"]["horizon"] == "?"
    assert len(document["action"]["dims"]) == 6
    [graph] = document["graphs"]
    assert graph["shapes"] == {"qpos": [6]}
    assert graph["outputs"] == [{"name": "action", "dtype": "float32", "shape": [1, "?", 6]}]


def test_graphs_are_wired_by_the_names_of_their_tensors_and_run_in_their_order(desk: Desk) -> None:
    cache: End = ("cache", FLOAT, [2, 1, 5, 64])
    seen: End = ("features", FLOAT, [1, 64])
    expert = foreign(
        desk.folder / "expert.onnx",
        [("x_t", FLOAT, [1, 50, 32]), cache, ("time", FLOAT, [1])],
        [("v", FLOAT, [1, 50, 32])],
    )
    language = foreign(desk.folder / "language.onnx", [("tokens", INT64, [1, 48])], [seen])
    prefix = foreign(
        desk.folder / "prefix.onnx", [IMAGE, seen, ("state", FLOAT, [1, 6])], [cache, ("unread", FLOAT, [1])]
    )
    document = desk(expert, prefix, language)

    assert [(graph["id"], graph["runs"]) for graph in document["graphs"]] == [
        ("language", "command"), ("prefix", "frame"), ("expert", "step")
    ]  # fmt: skip
    assert document["graphs"][1]["inputs"]["features"] == "language.features"
    assert document["graphs"][2]["inputs"] == {"x_t": "x", "cache": "prefix.cache", "time": "time"}
    assert [each["name"] for each in document["graphs"][1]["outputs"]] == ["cache"], "what nobody reads costs time"
    assert document["loop"] == {"method": "?", "times": "?", "time_dtype": "float32", "v": "expert.v"}
    assert document["observation"]["noise"] == {"shape": [1, 50, 32]}
    assert document["output"] == {"from": "x"}
    assert document["action"]["horizon"] == 50


def test_two_graphs_that_take_the_same_observation_share_it(desk: Desk) -> None:
    state: End = ("state", FLOAT, [1, 6])
    first = foreign(desk.folder / "look.onnx", [IMAGE, state], [("features", FLOAT, [1, 8])])
    second = foreign(desk.folder / "act.onnx", [("features", FLOAT, [1, 8]), state], [("action", FLOAT, [1, 4, 2])])
    document = desk(first, second)

    assert [graph["inputs"].get("state") for graph in document["graphs"]] == ["state", "state"]


def test_an_output_that_cannot_be_told_is_asked(desk: Desk) -> None:
    outputs: list[End] = [("left", FLOAT, [1, 8, 2]), ("right", FLOAT, [1, 8, 2])]
    document = desk(foreign(desk.folder / "policy.onnx", [IMAGE], outputs))

    assert document["output"]["from"] == "?"
    assert "there are policy.left, policy.right" in desk.text
    assert [each["name"] for each in document["graphs"][0]["outputs"]] == ["left", "right"]


def test_a_dataset_gives_names_rate_ranges_and_statistics(desk: Desk) -> None:
    file = one(desk.folder / "policy.onnx", IMAGE, ("state", FLOAT, [1, 2]))
    document = desk(file, "--dataset", desk.dataset(stats=STATS), "--name", "lab/arm", "--version", "2.0.0")

    assert (document["name"], document["version"]) == ("lab/arm", "2.0.0")
    assert document["action"]["control_hz"] == 30.0
    assert document["action"]["space"] == "joint_position", "LeRobot's endings say that these are positions"
    assert document["action"]["dims"] == [
        {"name": "elbow", "unit": "?", "min": -90.0, "max": 90.0},
        {"name": "wrist", "unit": "?", "min": -10.0, "max": 10.0},
    ]
    [part] = document["observation"]["state"]["parts"]
    assert part == {"of": "joint_position", "names": ["elbow", "wrist"], "unit": "?"}
    assert document["statistics"] == "norm_stats.json"
    assert json.loads((desk.out / "norm_stats.json").read_text()) == {
        "action": {
            "elbow": {"mean": 1.0, "std": 0.5, "min": -90.0, "max": 90.0},
            "wrist": {"mean": 2.0, "std": 0.25, "min": -10.0, "max": 10.0},
        },
        "state": {"joint_position.elbow": {"mean": 3.0, "std": 1.0}, "joint_position.wrist": {"mean": 4.0, "std": 1.0}},
    }


def test_names_that_do_not_say_what_they_are_of_leave_that_open(desk: Desk) -> None:
    info = json.loads(json.dumps(INFO))
    for feature in ("observation.state", "action"):
        info["features"][feature]["names"] = ["left_waist", "left_elbow"]
    document = desk(one(desk.folder / "policy.onnx", ("state", FLOAT, [1, 2])), "--dataset", desk.dataset(info, STATS))

    assert document["action"]["space"] == "?"
    assert document["observation"]["state"]["parts"][0]["of"] == "?"
    rows = json.loads((desk.out / "norm_stats.json").read_text())["state"]
    assert {"joint_position.left_waist", "joint_velocity.left_waist", "gripper.left_waist"} <= rows.keys()


def test_a_network_that_is_wider_than_the_body_is_padded(desk: Desk) -> None:
    file = one(desk.folder / "policy.onnx", ("state", FLOAT, [1, 32]), output=("actions", FLOAT, [1, 50, 32]))
    document = desk(file, "--dataset", desk.dataset())

    assert document["observation"]["state"]["pad_to"] == 32
    assert document["output"]["columns"] == [0, 1]
    assert len(document["action"]["dims"]) == 2


def test_names_of_another_number_of_joints_are_not_taken(desk: Desk) -> None:
    file = one(desk.folder / "policy.onnx", ("state", FLOAT, [1, 1]), output=("actions", FLOAT, [1, 50, 1]))
    document = desk(file, "--dataset", desk.dataset(stats=STATS))

    assert document["action"]["dims"] == [{"name": "?", "unit": "?", "min": "?", "max": "?"}]
    assert document["observation"]["state"]["parts"][0]["names"] == "?"
    assert "statistics" not in document


def test_a_robot_gives_its_body_units_and_the_name_of_its_camera(desk: Desk) -> None:
    robot = desk.robot(
        cameras={"mast": {"topic": "/mast/image_raw"}},
        joints={"elbow": {"unit": "deg", "scale": 57.29578}, "wrist": {"unit": "percent"}},
    )
    file = one(desk.folder / "policy.onnx", IMAGE, ("state", FLOAT, [1, 2]))
    document = desk(file, "--robot", robot, "--dataset", desk.dataset())

    assert document["embodiment"] == "mobile_base"
    assert list(document["observation"]["cameras"]) == ["mast"]
    assert document["graphs"][0]["inputs"]["image"] == "cameras.mast"
    assert document["observation"]["state"]["parts"] == [
        {"of": "joint_position", "names": ["elbow"], "unit": "deg"},
        {"of": "joint_position", "names": ["wrist"], "unit": "percent"},
    ]
    assert [dim["unit"] for dim in document["action"]["dims"]] == ["deg", "percent"]


def test_cameras_that_the_robot_calls_otherwise_are_told(desk: Desk) -> None:
    inputs: list[End] = [("images.top", FLOAT, [1, 3, 64, 64]), ("images.wrist", FLOAT, [1, 3, 64, 64])]
    robot = desk.robot(cameras={"wrist": {"topic": "/wrist"}, "ceiling": {"topic": "/ceiling"}})
    document = desk(one(desk.folder / "policy.onnx", *inputs), "--robot", robot)

    assert list(document["observation"]["cameras"]) == ["top", "wrist"]
    words = " ".join(line.removeprefix("# ") for line in desk.text.splitlines())
    assert (
        "robot-1 has wrist, ceiling: call it so here, or give it the name top in robot.toml, [cameras.alias]" in words
    )
    assert "give it the name wrist" not in words


def test_a_tokenizer_says_how_words_are_padded_and_whether_it_knows_all(desk: Desk) -> None:
    words = desk.folder / "words.json"
    words.write_bytes(tokenizer_json())
    document = desk(one(desk.folder / "policy.onnx", ("tokens", INT64, [1, 8])), "--tokenizer", words)

    text = document["observation"]["text"]
    assert text["tokenizer"] == "tokenizer.json"
    assert (desk.out / "tokenizer.json").read_bytes() == tokenizer_json()
    assert (text["length"], text["closed"], text["template"]) == (8, True, "?")


PADDED = {"model": {"type": "WordLevel", "unk_token": "-"}, "padding": {"pad_id": 2, "direction": "Left"}}
NAMED = {"model": {"type": "BPE", "unk_token": "-"}, "added_tokens": [{"id": 7, "content": "<pad>"}]}


@pytest.mark.parametrize(
    ("document", "wanted"),
    [({"model": {"type": "BPE"}}, ("?", "?", False)), (NAMED, (7, "?", True)), (PADDED, (2, "left", True))],
)
def test_what_a_tokenizer_does_not_say_is_asked(document: dict[str, Any], wanted: object, desk: Desk) -> None:
    (desk.folder / "words.json").write_text(json.dumps(document))
    file = one(desk.folder / "policy.onnx", ("tokens", INT64, [1, 8]))
    text = desk(file, "--tokenizer", desk.folder / "words.json")["observation"]["text"]

    assert (text["pad_id"], text["pad_side"], text["closed"]) == wanted


def external(folder: Path, location: str) -> Path:
    file = one(folder / "policy.onnx", IMAGE)
    model = onnx.load(str(file))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(64, np.float32), "w"))
    save = {"save_as_external_data": True, "location": location, "size_threshold": 0}
    onnx.save(model, str(file), **save)
    return file


def test_weights_in_other_files_come_with_their_graph(desk: Desk) -> None:
    file = external(desk.folder / "export", "policy.onnx.data")
    desk(file)

    assert (desk.out / "policy.onnx.data").read_bytes() == (file.parent / "policy.onnx.data").read_bytes()


REFUSALS: dict[str, tuple[Callable[[Path], list[object]], int, str]] = {
    "nowhere": (lambda folder: [folder / "none.onnx"], 1, "not there; name ONNX files"),
    "no_onnx": (lambda folder: [written(folder / "x.onnx", b"hello")], 2, "is not an ONNX graph"),
    "lost_weights": (lambda folder: [lost(external(folder, "policy.onnx.data"))], 1, "is not beside it; copy it there"),
    "weights_elsewhere": (lambda folder: [moved(external(folder, "w.data"))], 2, "expected a plain relative path"),
    "same_name": (
        lambda folder: [one(folder / "a" / "p.onnx", IMAGE), one(folder / "b" / "p.onnx", IMAGE)],
        5,
        "two graphs would be called 'p'; rename one of the files",
    ),
    "circle": (
        lambda folder: [
            foreign(folder / "a.onnx", [("p", FLOAT, [1])], [("q", FLOAT, [1])]),
            foreign(folder / "b.onnx", [("q", FLOAT, [1])], [("p", FLOAT, [1])]),
        ],
        5,
        "each reads what the other gives",
    ),
    "bad_name": (lambda folder: [one(folder / "p.onnx", IMAGE), "--name", "My Model"], 2, "--name"),
    "bad_version": (lambda folder: [one(folder / "p.onnx", IMAGE), "--version", "1"], 2, "--version"),
    "no_dataset": (
        lambda folder: [one(folder / "p.onnx", IMAGE), "--dataset", written(folder / "d.json", b"{}")],
        2,
        "has no features; name the meta/info.json",
    ),
    "no_tokenizer": (
        lambda folder: [one(folder / "p.onnx", IMAGE), "--tokenizer", written(folder / "t.json", b"{}")],
        2,
        "name a tokenizer.json",
    ),
    "no_json": (
        lambda folder: [one(folder / "p.onnx", IMAGE), "--dataset", written(folder / "d.json", b"[")],
        2,
        "not a valid JSON document",
    ),
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def lost(file: Path) -> Path:
    file.with_name("policy.onnx.data").unlink()
    return file


def moved(file: Path) -> Path:
    model = onnx.load(str(file), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../w.data"
    onnx.save_model(model, str(file))
    return file


@pytest.mark.parametrize(("words", "code", "message"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_drafted_is_said_and_leaves_nothing(
    words: Callable[[Path], list[object]], code: int, message: str, desk: Desk
) -> None:
    given = words(desk.folder)
    before = sorted(desk.folder.rglob("*"))
    found, out, err = desk.run(*given)

    assert (found, out) == (code, "")
    assert message in err
    assert sorted(desk.folder.rglob("*")) == before


def test_nothing_is_overwritten(desk: Desk) -> None:
    file = one(desk.folder / "policy.onnx", IMAGE)
    desk(file)
    text = desk.text
    code, _, err = desk.run(file)

    assert code == 5
    assert "is there already, and nothing is overwritten; choose a new folder" in err
    assert desk.text == text


def test_an_empty_folder_is_filled(desk: Desk) -> None:
    desk.out.mkdir()
    desk(one(desk.folder / "policy.onnx", IMAGE))

    assert sorted(path.name for path in desk.out.iterdir()) == ["policy.onnx", "vla.toml"]


@pytest.mark.parametrize("stem", ["text", "2-stage net", "cameras"])
def test_a_graph_is_called_like_its_file_where_that_is_a_name(stem: str, desk: Desk) -> None:
    document = desk(one(desk.folder / f"{stem}.onnx", IMAGE))

    [graph] = document["graphs"]
    assert graph["id"].isidentifier()
    assert graph["id"] not in ("text", "cameras")
    assert document["output"]["from"] == f"{graph['id']}.actions"
