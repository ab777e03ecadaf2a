"""The contract of a model: every field is read, what may be left out has a default, and each refusal is a sentence."""

from __future__ import annotations

import json

import pytest

from model_registry.core.contract import Golden
from model_registry.core.contract.actions import Actions, Dimension
from model_registry.core.contract.cameras import CameraRecipe, TensorType
from model_registry.core.contract.graphs import GraphTensor, Loop
from model_registry.core.contract.observation import LidarRecipe, NoiseRecipe, StatePart, StateRecipe, TextRecipe
from model_registry.core.contract.output import ActionOutput
from model_registry.core.contract.vectors import WantedArray, wanted_arrays
from model_registry.core.errors import UsageError
from tests.fakes.contracts import JOINTS, arm, base, changed, diffusion, read


def test_every_field_of_an_observation_is_read() -> None:
    seen = read(arm()).observation
    assert seen.cameras["wrist"] == CameraRecipe(
        width=64,
        height=48,
        fit="letterbox",
        anchor="top_left",
        pad=7,
        resize="linear_float32",
        color="BGR",
        layout="NHWC",
        dtype="float16",
        divisor=127.5,
        mean=(1.0, 1.0, 1.0),
        std=(1.0, 0.5, 1.0),
        frames=(-3, -1, 0),
        every_s=0.25,
        stack="channels",
    )
    assert seen.goal == CameraRecipe(8, 8, color="GRAY", dtype="uint8")
    parts = (StatePart("joint_position", JOINTS, "deg"), StatePart("gripper", ("jaw",), "percent"))
    assert seen.state == StateRecipe(parts, "quantiles", (-1, 0), 0.1, 4)
    assert seen.text == TextRecipe("tokenizer.json", 16, "int32", 2, "left", "do {text}\n", "bool", closed=False)
    assert seen.lidar == LidarRecipe(36, 5.0)
    assert seen.noise == NoiseRecipe((1, 12, 6), "float16")
    assert (seen.prefix, seen.delay) == (4, True)


def test_every_field_beside_it_is_read() -> None:
    contract = read(arm())
    assert (contract.name, contract.version, contract.embodiment) == ("models/arm", "1.2.3-rc.1", "six_axes")
    assert (contract.statistics, contract.licence) == ("stats.json", "Apache-2.0")
    assert (contract.calibration, contract.variants) == (("calibration.npz",), ("small",))
    assert contract.loop == Loop("euler", (1.0, 0.5, 0.0), "expert.v")
    assert contract.loop.steps == 2
    assert contract.output == ActionOutput("x", 1, (3, 0), ("sure", 5))
    dims = tuple(Dimension(name, "deg", -90.0, 90.5) for name in JOINTS)
    assert contract.action == Actions("joint_position", dims, 10, 5, 30.0, "to_state", "min_max")
    assert contract.goldens == (Golden("one.npz", {"fp32": (0.01, 0.01), "fp16": (0.1, 0.2)}),)
    assert set(contract.named_files()) == set(contract.files)


def test_every_field_of_ddim_is_read() -> None:
    loop = read(diffusion()).loop
    assert loop == Loop("ddim", (66.0, 33.0, 0.0), "unet.eps", "int64", (0.1, 0.5, 0.9, 1.0), "sample", 1.0)
    assert loop is not None and loop.steps == 3


def test_what_is_left_out_has_a_default() -> None:
    contract = read(base())
    assert contract.observation.cameras == {"front": CameraRecipe(8, 6)}
    assert CameraRecipe(8, 6).tensor == TensorType("float32", (1, 3, 6, 8))
    assert contract.output == ActionOutput("policy.action", 0, (0, 1), None)
    assert (contract.action.relative, contract.action.normalise) == ("no", "none")
    assert (contract.loop, contract.statistics, contract.calibration, contract.variants) == (None, None, (), ())
    text = {"tokenizer": "t.json", "length": 3}
    document = changed(base(), "observation.text", text)
    document["files"]["t.json"] = document["files"]["one.npz"]
    document["graphs"][0]["inputs"]["tokens"] = "text"
    assert read(document).observation.text == TextRecipe("t.json", 3)
    state = {"parts": [{"of": "base_velocity", "names": ["linear_x"], "unit": "m/s"}]}
    document = changed(base(), "observation.state", state)
    document["graphs"][0]["inputs"]["state"] = "state"
    assert read(document).observation.state == StateRecipe((StatePart("base_velocity", ("linear_x",), "m/s"),))


def test_null_is_as_good_as_left_out() -> None:
    document = base()
    document |= dict.fromkeys(("loop", "statistics", "calibration", "variants"))
    document["observation"] |= dict.fromkeys(("state", "text", "lidar", "noise", "goal", "prefix", "delay"))
    assert read(document) == read(base())


def test_every_input_has_the_type_and_shape_of_its_source_or_its_own_shape() -> None:
    words, prefix, expert = read(arm()).graphs
    assert words.inputs == (
        GraphTensor("tokens", "int32", (1, 16), "text"),
        GraphTensor("mask", "bool", (1, 16), "text.mask"),
        GraphTensor("goal", "uint8", (1, 1, 8, 8), "goal"),
    )
    assert {item.name: (item.dtype, item.shape) for item in prefix.inputs} == {
        "words": ("float16", (1, 16, 8)),
        "top": ("float32", (1, 3, 24, 32)),
        "wrist": ("float16", (1, 48, 64, 9)),
        "state": ("float32", (1, 8)),
        "scan": ("float32", (1, 36)),
        "ahead": ("float32", (1, 4, 2)),
        "delay": ("int64", ()),
    }
    assert [(item.name, item.dtype, item.shape) for item in expert.inputs] == [
        ("cache", "float32", (2, 1, 16)),
        ("x", "float16", (1, 12, 6)),
        ("t", "float32", (1,)),
    ]
    [unet] = read(diffusion()).graphs
    assert unet.inputs[-1] == GraphTensor("t", "int64", (), "time")


def test_the_sources_are_what_is_prepared() -> None:
    assert read(arm()).sources == {
        "cameras.top": TensorType("float32", (1, 3, 24, 32)),
        "cameras.wrist": TensorType("float16", (1, 48, 64, 9)),
        "goal": TensorType("uint8", (1, 1, 8, 8)),
        "state": TensorType("float32", (1, 2, 4)),
        "text": TensorType("int32", (1, 16)),
        "text.mask": TensorType("bool", (1, 16)),
        "lidar": TensorType("float32", (1, 36)),
        "noise": TensorType("float16", (1, 12, 6)),
        "prefix": TensorType("float32", (1, 4, 2)),
        "delay": TensorType("int64", (1,)),
    }


def test_goldens_hold_an_array_for_everything_that_is_seen() -> None:
    wanted = {
        "cameras.top": WantedArray("u1", (0, 0, 3)),
        "cameras.wrist": WantedArray("u1", (3, 0, 0, 3)),
        "goal": WantedArray("u1", (0, 0, 3)),
        "state": WantedArray("f", (2, 3)),
        "text": WantedArray("U", ()),
        "lidar.ranges": WantedArray("f", (0,)),
        "lidar.limits": WantedArray("f", (4,)),
        "prefix": WantedArray("f", (4, 2)),
        "delay": WantedArray("i", ()),
        "seed": WantedArray("i", ()),
    }
    assert wanted_arrays(read(arm())) == wanted
    assert wanted_arrays(read(arm()), golden=True) == {**wanted, "action": WantedArray("f", (10, 2))}


LATE = {"id": "late", "path": "one.npz", "runs": "frame", "outputs": [{"name": "y", "dtype": "int64", "shape": [1]}]}


@pytest.mark.parametrize(
    ("inputs", "runs"),
    [
        ({"t": "text"}, "command"),
        ({"t": "text", "m": "text.mask", "g": "goal"}, "command"),
        ({"w": "words.features"}, "command"),
        ({"t": "text", "s": "state"}, "frame"),
        ({"c": "prefix.cache", "w": "words.features"}, "frame"),
        ({"n": "noise"}, "frame"),
        ({"a": "prefix"}, "frame"),
        ({"d": "delay"}, "frame"),
        ({}, "frame"),
        ({"x": "x"}, "step"),
        ({"t": "time", "w": "text"}, "step"),
        ({"v": "expert.v"}, "step"),
    ],
)
def test_a_graph_runs_when_something_that_it_reads_is_new(inputs: dict[str, str], runs: str) -> None:
    document = arm()
    for says in ("command", "frame", "step"):
        document["graphs"] = [*arm()["graphs"], {**LATE, "inputs": inputs, "runs": says}]
        if says == runs:
            assert read(document).graphs[-1].runs == runs
            continue
        with pytest.raises(UsageError) as caught:
            read(document)
        assert str(caught.value) == (
            f"vla.json.graphs[3].runs: late reads what is new each {runs}; say runs = {runs!r}"
        )


def test_columns_in_any_order_rows_from_any_on_and_a_score_beside_them() -> None:
    document = changed(base(), "graphs.0.outputs.0.shape", [2, 5, 4])
    document["output"] |= {"first": 2, "columns": [3, 1], "advisory": {"name": "safe", "column": 0}}
    assert read(document).output == ActionOutput("policy.action", 2, (3, 1), ("safe", 0))


@pytest.mark.parametrize("unit", ["rad", "deg", "m", "mm", "percent", "rad/s", "deg/s", "m/s", "Nm", "N", "none"])
@pytest.mark.parametrize("space", ["joint_position", "joint_velocity"])
def test_joints_have_any_names_and_any_known_unit(space: str, unit: str) -> None:
    document = changed(base(), "action.space", space)
    document["action"]["dims"] = [
        {"name": "left_elbow", "unit": unit, "min": 0, "max": 1},
        {"name": "2", "unit": unit, "min": 0, "max": 1},
    ]
    assert [dim.unit for dim in read(document).action.dims] == [unit, unit]


def test_a_base_may_be_told_to_go_sideways() -> None:
    document = changed(base(), "action.dims.1", {"name": "linear_y", "unit": "m/s", "min": -1, "max": 1})
    assert read(document).action.names == ("linear_x", "linear_y")


@pytest.mark.parametrize("relative", ["to_state", "to_previous"])
def test_joint_positions_may_be_relative_to_the_state(relative: str) -> None:
    assert read(changed(arm(), "action.relative", relative)).action.relative == relative


def test_a_chunk_lasts_as_long_as_the_steps_that_are_carried_out() -> None:
    assert read(base()).action.chunk_s == pytest.approx(0.2)


def test_reading_does_not_depend_on_the_order_of_keys() -> None:
    turned = json.loads(json.dumps(arm(), sort_keys=True))
    assert list(turned) != list(arm())
    assert read(turned).observation == read(arm()).observation
