"""Contracts that do not fit together: each is refused in one sentence that names the place and says what to do."""

from __future__ import annotations

import pytest

from model_registry.core.errors import IncompatibleError, UsageError
from tests.fakes.contracts import Document, arm, base, changed, diffusion, read

Cases = dict[str, tuple[str, tuple[object, ...], str]]
"""What is wrong: the place, what stands there (nothing: it is gone), and what is said."""
CAMERA = "observation.cameras.front"
ARM: Cases = {
    "a state that nobody named": (
        "observation.state.parts",
        ([],),
        ".observation.state.parts: name each number of the state once, and at least one",
    ),
    "a number of the state twice": (
        "observation.state.parts.0.names",
        (["a", "a"],),
        ".observation.state.parts[0].names: name each number of the state once",
    ),
    "a part of nothing": (
        "observation.state.parts.0.of",
        ("ee_pose",),
        (
            ".observation.state.parts[0].of: expected one of base_velocity, effort, gripper, joint_position, "
            "joint_velocity, got 'ee_pose'"
        ),
    ),
    "less room than numbers": (
        "observation.state.pad_to",
        (2,),
        ".observation.state.pad_to: 2 is less than the 3 numbers of the parts",
    ),
    "a way to normalise that nobody knows": (
        "observation.state.normalise",
        ("z",),
        ".observation.state.normalise: expected one of mean_std, min_max, none, quantiles, got 'z'",
    ),
    "no place for the words": (
        "observation.text.template",
        ("do it",),
        ".observation.text.template: 'do it' must hold {text} once, where the words go",
    ),
    "two places for the words": (
        "observation.text.template",
        ("{text}{text}",),
        ".observation.text.template: '{text}{text}' must hold {text} once, where the words go",
    ),
    "a mask of another type": (
        "observation.text.mask",
        ("uint8",),
        ".observation.text.mask: expected one of bool, float32, int32, int64, got 'uint8'",
    ),
    "a tokenizer elsewhere": (
        "observation.text.tokenizer",
        ("/t.json",),
        ".observation.text.tokenizer: expected a plain relative path, got '/t.json'",
    ),
    "no noise": (
        "observation.noise",
        (),
        ".loop: it begins with noise; add observation.noise with the shape of x",
    ),
    "noise without numbers": (
        "observation.noise.shape",
        ([1, 0],),
        ".observation.noise.shape: [1, 0] holds no numbers; give sizes of 1 or more",
    ),
    "several goals": (
        "observation.goal.frames",
        ([-1, 0],),
        ".observation.goal.every_s: missing",
    ),
    "a prefix of nothing": (
        "observation.prefix",
        (0,),
        ".observation.prefix: expected at least 1, got 0",
    ),
    "a longer prefix than there are actions": (
        "observation.prefix",
        (11,),
        (
            ".observation.prefix: 11 is more than the horizon of 10; no more actions than that are still to come, so "
            "give it at most that"
        ),
    ),
    "a source that is not there": (
        "graphs.1.inputs.words",
        ("words.tokens",),
        (
            ".graphs[1].inputs.words: nothing is called 'words.tokens'; there are cameras.top, cameras.wrist, delay, "
            "goal, lidar, noise, prefix, state, text, text.mask, time, words.features, x"
        ),
    ),
    "a graph that reads what comes later": (
        "graphs.0.inputs.tokens",
        ("prefix.cache",),
        (
            ".graphs[0].inputs.tokens: nothing is called 'prefix.cache'; there are cameras.top, cameras.wrist, delay,"
            " goal, lidar, noise, prefix, state, text, text.mask, time, x"
        ),
    ),
    "an observation that nobody reads": (
        "graphs.1.inputs.scan",
        (),
        ".observation: no graph reads 'lidar'; wire it to an input, or leave it away",
    ),
    "a shape of other numbers": (
        "graphs.1.shapes.state",
        ([1, 9],),
        (
            ".graphs[1].shapes.state: [1, 9] holds another number of elements than the [1, 2, 4] of state; make them "
            "agree"
        ),
    ),
    "a shape of no input": (
        "graphs.1.shapes.speed",
        ([1],),
        ".graphs[1].shapes: the graph has no input 'speed'; name one of its inputs",
    ),
    "a shape that is no list": (
        "graphs.1.shapes.state",
        (8,),
        ".graphs[1].shapes.state: expected a list of sizes, got 8",
    ),
    "a shape that is not known": (
        "graphs.2.outputs.0.shape",
        ([-1, 6],),
        ".graphs[2].outputs[0].shape: [-1, 6] must hold sizes of 1 or more; a robot runs fixed shapes",
    ),
    "a result of another type": (
        "graphs.2.outputs.0.dtype",
        ("float64",),
        ".graphs[2].outputs[0].dtype: expected one of bool, float16, float32, int32, int64, uint8, got 'float64'",
    ),
    "a graph without a result": (
        "graphs.2.outputs",
        ([],),
        ".graphs[2].outputs: name each output once, and at least one",
    ),
    "one result twice": (
        "graphs.0.outputs",
        ([{"name": "y", "dtype": "bool", "shape": []}, {"name": "y", "dtype": "bool", "shape": []}],),
        ".graphs[0].outputs: name each output once, and at least one",
    ),
    "no id": (
        "graphs.0.id",
        ("",),
        ".graphs[0].id: '' is no name; use at most 64 letters, digits and _, and begin with a letter",
    ),
    "an id of another alphabet": (
        "graphs.0.id",
        ("wörter",),
        ".graphs[0].id: 'wörter' is no name; use at most 64 letters, digits and _, and begin with a letter",
    ),
    "one id twice": (
        "graphs.1.id",
        ("words",),
        ".graphs: give at least one graph, each with an id of its own",
    ),
    "no graphs": (
        "graphs",
        ([],),
        ".graphs: give at least one graph, each with an id of its own",
    ),
    "a graph in a file of another kind": (
        "graphs.0.path",
        ("words.pt",),
        (
            ".graphs[0].path: 'words.pt' is not a kind of file that models may carry (.data, .json, .md, .model, "
            ".npz, .onnx, .onnx_data, .safetensors, .txt, .v1); weights beside a graph are called NAME.data"
        ),
    ),
    "another rhythm": (
        "graphs.0.runs",
        ("second",),
        ".graphs[0].runs: expected one of command, frame, step, got 'second'",
    ),
    "no loop for what runs in one": (
        "loop",
        (),
        (
            ".graphs[2].inputs.x: nothing is called 'x'; there are cameras.top, cameras.wrist, delay, goal, lidar, "
            "noise, prefix, prefix.cache, state, text, text.mask, words.features"
        ),
    ),
    "another way to go": (
        "loop.method",
        ("ddpm",),
        ".loop.method: expected one of ddim, euler, got 'ddpm'",
    ),
    "one time for euler": (
        "loop.times",
        ([1.0],),
        ".loop.times: makes 0 steps; give times for 1 to 1000",
    ),
    "too many times": (
        "loop.times",
        ([0.5] * 1002,),
        ".loop.times: makes 1001 steps; give times for 1 to 1000",
    ),
    "numbers of ddim for euler": (
        "loop.alphas",
        ([0.5],),
        ".loop: unknown key 'alphas'; known: method, time_dtype, times, v",
    ),
    "whole times that are not": (
        "loop.time_dtype",
        ("int64",),
        ".loop.times: a time_dtype of int64 needs whole numbers; give them, or say float32",
    ),
    "a direction from nowhere": (
        "loop.v",
        ("expert.w",),
        (
            ".loop.v: 'expert.w' must be numbers that a graph gives each step, as many as the noise [1, 12, 6]; name "
            "such a tensor"
        ),
    ),
    "a direction that never changes": (
        "loop.v",
        ("prefix.cache",),
        (
            ".loop.v: 'prefix.cache' must be numbers that a graph gives each step, as many as the noise [1, 12, 6]; "
            "name such a tensor"
        ),
    ),
    "a direction of another size": (
        "graphs.2.outputs.0.shape",
        ([12, 5],),
        (
            ".loop.v: 'expert.v' must be numbers that a graph gives each step, as many as the noise [1, 12, 6]; name "
            "such a tensor"
        ),
    ),
    "a direction of whole numbers": (
        "graphs.2.outputs.0.dtype",
        ("int64",),
        (
            ".loop.v: 'expert.v' must be numbers that a graph gives each step, as many as the noise [1, 12, 6]; name "
            "such a tensor"
        ),
    ),
    "an output from nowhere": (
        "output.from",
        ("state",),
        ".output.from: nothing is called 'state'; there are expert.v, prefix.cache, words.features, x",
    ),
    "more rows than there are": (
        "output.first",
        (3,),
        ".output: x [1, 12, 6] has 12 rows; a horizon of 10 actions from row 3 on needs 13",
    ),
    "a column too few": (
        "output.columns",
        ([1],),
        ".output.columns: [1] must name one column for each of 2 dimensions",
    ),
    "one column twice": (
        "output.columns",
        ([1, 1],),
        ".output.columns: [1, 1] must name one column for each of 2 dimensions",
    ),
    "a column behind the last": (
        "output.columns",
        ([1, 6],),
        ".output.columns: 6 is no column of x, which has 6",
    ),
    "a score in an action's column": (
        "output.advisory.column",
        (3,),
        ".output.advisory: column 3 is an action's; name another one",
    ),
    "a score behind the last column": (
        "output.advisory.column",
        (6,),
        ".output.columns: 6 is no column of x, which has 6",
    ),
    "speeds that are relative": (
        "action.space",
        ("joint_velocity",),
        ".action.relative: only a joint_position is added to a state; leave it away",
    ),
    "relative to a state that is not there": (
        "action.dims.1.name",
        ("wrist",),
        (
            ".action.relative: actions are added to the state that was seen, and observation.state has no "
            "joint_position of wrist; add it there"
        ),
    ),
    "relative to a state in another unit": (
        "action.dims.0.unit",
        ("rad",),
        ".action.relative: shoulder is in rad, and the state that it is added to is in deg; give both in one unit",
    ),
    "no statistics": (
        "statistics",
        (),
        ".statistics: missing; numbers are normalised, name the file with their statistics",
    ),
    "a tolerance of 0": (
        "goldens.0.tolerance.fp32",
        (0,),
        ".goldens[0].tolerance: no engine is as exact as 0; give numbers above it",
    ),
    "one tolerance of 0": (
        "goldens.0.tolerance.fp32",
        ([0.1, 0],),
        ".goldens[0].tolerance: no engine is as exact as 0; give numbers above it",
    ),
    "a tolerance too many": (
        "goldens.0.tolerance.fp32",
        ([1, 1, 1],),
        ".goldens[0].tolerance.fp32: 3 numbers for 2 dimensions; give one for each, or one for all",
    ),
    "a file that is not listed": (
        "files/calibration.npz",
        (),
        ".files: 'calibration.npz' is used and is not among them; put it into the folder",
    ),
    "a tokenizer that is not listed": (
        "observation.text.tokenizer",
        ("t.json",),
        ".files: 't.json' is used and is not among them; put it into the folder",
    ),
    "statistics that are not listed": (
        "statistics",
        ("s.json",),
        ".files: 's.json' is used and is not among them; put it into the folder",
    ),
    "a variant outside": (
        "variants.0",
        ("../small",),
        ".variants[0]: expected a plain relative path, got '../small'",
    ),
    "a digest that is none": (
        "files/one.npz",
        ("sha256:0",),
        ".files.one.npz: expected sha256: and 64 hex characters, got 'sha256:0'; give the digest, not a tag",
    ),
}
BASE: Cases = {
    "nothing to see": (
        "observation",
        ({"noise": {"shape": [1]}},),
        (
            ".observation: a policy that sees neither a camera, a state nor a lidar acts blindly; name at least one "
            "of cameras, state and lidar"
        ),
    ),
    "a camera without a name": (
        "observation.cameras",
        ({"": {}},),
        ".observation.cameras: '' is no name; use at most 64 letters, digits and _, and begin with a letter",
    ),
    "a picture without a width": (
        f"{CAMERA}.width",
        (0,),
        ".observation.cameras.front.width: expected at least 1, got 0",
    ),
    "a picture that is too large": (
        f"{CAMERA}.width",
        (67108864,),
        ".observation.cameras.front: [1, 3, 6, 67108864] are more numbers than a robot prepares; at most 67108864",
    ),
    "another fit": (
        f"{CAMERA}.fit",
        ("squeeze",),
        ".observation.cameras.front.fit: expected one of crop, letterbox, stretch, got 'squeeze'",
    ),
    "another anchor": (
        f"{CAMERA}.anchor",
        ("left",),
        ".observation.cameras.front.anchor: expected one of bottom_right, centre, top_left, got 'left'",
    ),
    "a level that is none": (
        f"{CAMERA}.pad",
        (256,),
        ".observation.cameras.front.pad: 256 is no level of a pixel; give 0 to 255",
    ),
    "another resize": (
        f"{CAMERA}.resize",
        ("cubic",),
        ".observation.cameras.front.resize: expected one of area, linear, linear_float32, got 'cubic'",
    ),
    "another color": (
        f"{CAMERA}.color",
        ("YUV",),
        ".observation.cameras.front.color: expected one of BGR, GRAY, RGB, got 'YUV'",
    ),
    "another layout": (
        f"{CAMERA}.layout",
        ("CHW",),
        ".observation.cameras.front.layout: expected one of NCHW, NHWC, got 'CHW'",
    ),
    "another type": (
        f"{CAMERA}.dtype",
        ("float64",),
        ".observation.cameras.front.dtype: expected one of float16, float32, uint8, got 'float64'",
    ),
    "a divisor of 0": (
        f"{CAMERA}.divisor",
        (0,),
        ".observation.cameras.front.divisor: expected 1e-06 to 65535.0, got 0",
    ),
    "a mean without a spread": (
        f"{CAMERA}.mean",
        ([1, 1, 1],),
        (
            ".observation.cameras.front: mean and std need 3 numbers each, one for each channel of RGB; or leave both"
            " away"
        ),
    ),
    "another order of frames": (
        f"{CAMERA}.frames",
        ([0, -1],),
        (
            ".observation.cameras.front.frames: [0, -1] must rise, end with 0, the newest frame, and have at most 32;"
            " write [-1, 0] for the newest and the one before"
        ),
    ),
    "no newest frame": (
        f"{CAMERA}.frames",
        ([-2, -1],),
        (
            ".observation.cameras.front.frames: [-2, -1] must rise, end with 0, the newest frame, and have at most "
            "32; write [-1, 0] for the newest and the one before"
        ),
    ),
    "frames without a distance": (
        f"{CAMERA}.frames",
        ([-1, 0],),
        ".observation.cameras.front.every_s: missing",
    ),
    "a distance without frames": (
        f"{CAMERA}.every_s",
        (0.1,),
        (
            ".observation.cameras.front: unknown key 'every_s'; known: anchor, color, divisor, dtype, fit, frames, "
            "height, layout, mean, pad, resize, stack, std, width"
        ),
    ),
    "another stack": (
        f"{CAMERA}.stack",
        ("time",),
        ".observation.cameras.front.stack: expected one of axis, channels, got 'time'",
    ),
    "a graph that is called like an observation": (
        "graphs.0",
        (
            {
                "id": "cameras",
                "path": "policy.onnx",
                "runs": "frame",
                "inputs": {"image": "cameras.front"},
                "outputs": [{"name": "front", "dtype": "float32", "shape": [1]}],
            },
        ),
        ".graphs[0].id: 'cameras.front' is an observation already; give the graph another id",
    ),
    "an output of whole numbers": (
        "graphs.0.outputs.0.dtype",
        ("int32",),
        (
            ".output.from: policy.action is int32 [1, 8, 2], and no rows of numbers; name a tensor of float32 or "
            "float16 with at least one axis"
        ),
    ),
    "an output of one number": (
        "graphs.0.outputs.0.shape",
        ([],),
        (
            ".output.from: policy.action is float32 [], and no rows of numbers; name a tensor of float32 or float16 "
            "with at least one axis"
        ),
    ),
    "an output of one column": (
        "graphs.0.outputs.0.shape",
        ([1, 8, 1],),
        ".output.columns: 1 is no column of policy.action, which has 1",
    ),
    "a shorter output": (
        "graphs.0.outputs.0.shape",
        ([1, 7, 2],),
        ".output: policy.action [1, 7, 2] has 7 rows; a horizon of 8 actions from row 0 on needs 8",
    ),
    "another space": (
        "action.space",
        ("ee_delta",),
        ".action.space: expected one of base_velocity, joint_position, joint_velocity, got 'ee_delta'",
    ),
    "no dimensions": (
        "action.dims",
        ([],),
        ".action.dims: name each dimension once, and at least one",
    ),
    "one dimension twice": (
        "action.dims.1.name",
        ("linear_x",),
        ".action.dims: name each dimension once, and at least one",
    ),
    "another unit": (
        "action.dims.0.unit",
        ("km/h",),
        ".action.dims[0].unit: expected one of N, Nm, deg, deg/s, m, m/s, mm, none, percent, rad, rad/s, got 'km/h'",
    ),
    "a dimension that no base has": (
        "action.dims.0.name",
        ("linear_z",),
        ".action.dims: a base has no dimension 'linear_z'; there are linear_x, linear_y, angular_z",
    ),
    "a base in degrees": (
        "action.dims.1.unit",
        ("deg/s",),
        ".action.dims: angular_z of a base is in rad/s, and not in deg/s",
    ),
    "a range upside down": (
        "action.dims.0.min",
        (0.5,),
        ".action.dims[0]: linear_x goes from 0.5 to 0.5; min must be below max",
    ),
    "more steps than there are": (
        "action.execute_steps",
        (9,),
        ".action.execute_steps: 9 is more than the horizon of 8; execute at most what is given",
    ),
    "no rate": (
        "action.control_hz",
        (0,),
        ".action.control_hz: expected 0.1 to 1000.0, got 0",
    ),
    "speeds that are relative": (
        "action.relative",
        ("to_previous",),
        ".action.relative: only a joint_position is added to a state; leave it away",
    ),
    "normalised without statistics": (
        "action.normalise",
        ("mean_std",),
        ".statistics: missing; numbers are normalised, name the file with their statistics",
    ),
    "the schema before": (
        "schema",
        (1,),
        ".schema: 1 is no longer read, 2 is; write it anew",
    ),
    "a schema to come": (
        "schema",
        (3,),
        ".schema: 3 is newer than this program knows (2); update Homeport here",
    ),
    "a key that nobody knows": (
        "preprocess",
        ({},),
        (
            ": unknown key 'preprocess'; known: action, calibration, embodiment, files, goldens, graphs, licence, "
            "loop, name, observation, output, requires, schema, statistics, variants, version"
        ),
    ),
    "no name": (
        "name",
        ("Base",),
        ".name: expected a repository name such as models/pilot, got 'Base'",
    ),
    "no version": (
        "version",
        ("1",),
        ".version: expected a version such as 1.4.2, got '1'",
    ),
    "no licence": (
        "licence",
        (),
        ".licence: missing",
    ),
    "a file elsewhere": (
        "files",
        ({"../x": "sha256:0000000000000000000000000000000000000000000000000000000000000000"},),
        ".files: expected a plain relative path, got '../x'",
    ),
}
DDIM: Cases = {
    "a number too few": (
        "loop.alphas",
        ([0.1, 0.5, 0.9],),
        ".loop.alphas: 3 numbers for 3 times; give one for each and one more",
    ),
    "a product of 0": (
        "loop.alphas",
        ([0, 0.5, 0.9, 1],),
        ".loop.alphas: products of 1 − β lie between 0 and 1, and only the last one may be 1; copy the scheduler's",
    ),
    "a product of 1 before the end": (
        "loop.alphas",
        ([0.1, 0.5, 1, 1],),
        ".loop.alphas: products of 1 − β lie between 0 and 1, and only the last one may be 1; copy the scheduler's",
    ),
    "a prediction of something else": (
        "loop.prediction",
        ("velocity",),
        ".loop.prediction: expected one of epsilon, sample, got 'velocity'",
    ),
    "no room": (
        "loop.clip",
        (0,),
        ".loop.clip: expected 1e-06 to inf, got 0",
    ),
    "no times": (
        "loop.times",
        ([],),
        ".loop.times: makes 0 steps; give times for 1 to 1000",
    ),
}
CASES = [
    pytest.param(document, *case, id=f"{document['name']}: {name}")
    for document, cases in ((arm(), ARM), (base(), BASE), (diffusion(), DDIM))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("document", "place", "value", "words"), CASES)
def test_what_does_not_fit_together_is_refused_in_one_sentence(
    document: Document, place: str, value: tuple[object, ...], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(changed(document, place, *value))
    assert str(caught.value) == f"vla.json{words}"


PAIRS: dict[str, tuple[dict[str, object], str]] = {
    "several goals": (
        {"observation.goal.frames": [-1, 0], "observation.goal.every_s": 1},
        ".observation.goal.frames: a goal is one image; leave it away",
    ),
    "a spread of 0": (
        {f"{CAMERA}.mean": [0, 0, 0], f"{CAMERA}.std": [1, 1, 0]},
        f".{CAMERA}.std: a spread of 0 or less says nothing; give one above 0 for each channel",
    ),
    "levels that are divided": (
        {f"{CAMERA}.dtype": "uint8", f"{CAMERA}.divisor": 1},
        f".{CAMERA}: a uint8 image keeps its levels; leave mean, std and divisor away",
    ),
    "too many frames": (
        {f"{CAMERA}.frames": list(range(-32, 1)), f"{CAMERA}.every_s": 1},
        f".{CAMERA}.frames: [-32, -31, -30, -29, -28, -27, -26, -25] must rise, end with 0, the newest frame, and have "
        "at most 32; write [-1, 0] for the newest and the one before",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_contradicts_itself_is_refused(name: str) -> None:
    document = arm() if name == "several goals" else base()
    changes, words = PAIRS[name]
    for place, value in changes.items():
        document = changed(document, place, value)
    with pytest.raises(UsageError) as caught:
        read(document)
    assert str(caught.value) == f"vla.json{words}"


def test_a_feature_that_this_program_does_not_know_is_refused() -> None:
    with pytest.raises(IncompatibleError) as caught:
        read(changed(base(), "requires", ["magic"]))
    assert str(caught.value) == "vla.json.requires: this program does not know 'magic'; update Homeport here"
