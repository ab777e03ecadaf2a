"""Models of several graphs: each runs when something that it reads is new, and loops turn noise into actions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Loop
from model_registry.core.digest import Digest
from model_registry.core.errors import IncompatibleError, IntegrityError
from model_registry.core.layout import Layout
from stack.engine import builder, wiring
from stack.engine.backends.null import Null
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.engine.packed import packed
from stack.engine.wiring import KEPT, Wired, ddim, euler
from stack.policy.load import find, load
from tests.fakes.jobs import make_job
from tests.fakes.looped import STEPS_OF_LOOP, make_looped_model
from tests.fakes.observations import command, drive, feed, ros
from tests.fakes.robot import add_model, build_engine, make_release, release_fields, stage
from tests.fakes.schemas import check
from tests.fakes.tiny import make_split_model, make_tiny_model, random_observation

RNG = np.random.default_rng(6)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_split_model(tmp_path / "model")


def sources(number: int = 0) -> dict[str, Any]:
    return {
        "cameras.front": RNG.random((1, 3, 112, 112)).astype(np.float32),
        "text": np.full((1, 10), number, np.int64),
        "lidar": RNG.random((1, 90)).astype(np.float32),
    }


class Counting(Null):
    """Answers with zeros, and counts."""

    calls = 0

    def __init__(self, contract: Contract, graph: str) -> None:
        super().__init__()
        [found] = [each for each in contract.graphs if each.id == graph]
        self._zeros = {item.name: np.zeros(item.shape, item.dtype) for item in found.outputs}

    def infer(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls += 1
        return self._zeros


def counted(model: Path, kept: int = KEPT) -> tuple[dict[str, Counting], Wired]:
    contract = Contract.load(model)
    runners = {graph.id: Counting(contract, graph.id) for graph in contract.graphs}
    return runners, Wired(contract, runners, kept)


def test_two_graphs_give_what_the_one_gives_that_they_were_cut_from(model: Path, tmp_path: Path) -> None:
    check(json.loads((model / "vla.json").read_bytes()), "vla")
    job = make_job(model, tmp_path)
    assert wiring.build(OnnxRuntime, job) == "fp32"
    runner = wiring.load(OnnxRuntime, "fp32", job.target, job.contract)
    whole = onnxruntime.InferenceSession(model.with_name("whole.onnx"), providers=["CPUExecutionProvider"])
    for number in (1, 7, 1, 19, 7):
        given = sources(number)
        wanted = whole.run(
            ["action"], {"image": given["cameras.front"], "tokens": given["text"], "lidar": given["lidar"]}
        )[0]
        assert np.allclose(runner.infer(given), wanted[0], atol=1e-6)
        assert set(given) == {"cameras.front", "text", "lidar"}
    runner.close()


def test_every_graph_has_an_engine_in_a_folder_called_like_it(model: Path, tmp_path: Path) -> None:
    one = make_job(make_tiny_model(tmp_path / "one"), tmp_path / "first")
    two = make_job(model, tmp_path / "second")
    for job in (one, two):
        wiring.build(OnnxRuntime, job)
    assert [path.name for path in one.target.iterdir()] == ["policy"]
    assert sorted(path.name for path in two.target.iterdir()) == ["language", "policy"]


def test_d30_r10_a_command_that_is_repeated_costs_no_inference_of_language(model: Path) -> None:
    runners, wired = counted(model)
    words = sources(3)["text"]
    for _ in range(50):  # as the policy does: the same array again
        wired.infer({**sources(), "text": words})
    assert wired.cache is not None
    assert (runners["language"].calls, runners["policy"].calls) == (1, 50)
    assert (wired.cache.misses, wired.cache.hits) == (1, 49)
    words[0, 0] = 4  # another command in the same array
    wired.infer({**sources(), "text": words})
    wired.infer(sources(3))
    assert (runners["language"].calls, wired.cache.misses, wired.cache.hits) == (2, 2, 50)


def test_d30_what_is_kept_is_bounded_and_the_oldest_goes_first(model: Path) -> None:
    runners, wired = counted(model)
    for number in range(KEPT + 1):
        wired.infer(sources(number))
    wired.infer(sources(KEPT))
    assert runners["language"].calls == KEPT + 1
    wired.infer(sources(0))
    assert runners["language"].calls == KEPT + 2


def test_the_gate_times_the_first_frame_of_a_command_each_time(model: Path) -> None:
    runners, wired = counted(model, kept=0)
    for _ in range(5):
        wired.infer(sources(3))
    assert runners["language"].calls == 5


def test_a_release_of_it_is_built_proved_and_driven_and_tells_what_it_kept(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "robot"
    make_release(root, model)
    plan, slot = load(find(Layout.at(root), "a"))
    before = slot.inference.cache.misses  # of the warm-up
    drive(slot)
    for number in range(1, 9):
        now = 10.0 + number / 10
        feed(slot, now)
        if number == 5:
            slot.on_command(command("turn left"), now)
        assert slot.infer(now, ros(now))
        assert slot.action(now, ros(now)).steps is not None
    assert slot.inference.cache.misses - before == 2 and slot.inference.cache.hits >= 7
    engine = Layout.at(root).engines / plan.key
    parts = json.loads((engine / "key.json").read_bytes())["files"]
    names = ("engine.onnx", "session.json")
    assert set(parts) == {f"{graph}/{name}" for graph in ("language", "policy") for name in names}
    (engine / "language" / "engine.onnx").write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        builder.check(engine, plan.key)


def test_parity_is_that_of_both_graphs_together(model: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(model / "language.onnx")
    [weights] = [item for item in graph.graph.initializer if item.name == "v"]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.5, "v"))
    onnx.save(graph, model / "language.onnx")
    digest = str(Digest.of_file(model / "language.onnx"))
    change(model, lambda fields: fields["files"].update({"language.onnx": digest}))
    root = tmp_path / "robot"
    name = add_model(root, model)
    result = build_engine(root, stage(root, release_fields(name), name))
    assert [item.metric for item in result.checks if not item.ok] == ["parity_linear_x", "parity_angular_z"]


def test_int8_takes_what_a_graph_reads_from_another_one_from_that_one(model: Path, tmp_path: Path) -> None:
    """Calibration data are raw observations: features of language are computed, and not written down by anybody."""
    wide, narrow = (make_job(model, tmp_path / name, name) for name in ("fp32", "int8"))
    answers = []
    seen = random_observation(np.random.default_rng(2))
    tensors = {name: value.copy() for name, value in packed(model, wide.contract).preparation(seen).items()}
    for job in (wide, narrow):
        assert wiring.build(OnnxRuntime, job) == job.precision
        answers.append(wiring.load(OnnxRuntime, job.precision, job.target, job.contract).infer(tensors))
    assert 0.0 < np.max(np.abs(answers[0] - answers[1])) < 0.5


def change(model: Path, edit: Callable[[Any], object]) -> bytes:
    fields = json.loads((model / "vla.json").read_bytes())
    edit(fields)
    (model / "vla.json").write_text(json.dumps(fields))
    return (model / "vla.json").read_bytes()


def test_features_of_another_shape_than_the_graph_gives_are_refused(model: Path, tmp_path: Path) -> None:
    change(model, lambda f: f["graphs"][0]["outputs"][0].update(shape=[1, 5]))
    with pytest.raises(IncompatibleError, match=r"axis 1 of 'words' is 4 long, and vla\.json says 5"):
        wiring.build(OnnxRuntime, make_job(model, tmp_path))


# Loops


def test_a_loop_runs_its_prefix_once_a_frame_and_its_expert_once_a_step(tmp_path: Path) -> None:
    runners, wired = counted(make_looped_model(tmp_path / "model"))
    for _ in range(3):
        wired.infer({"cameras.front": np.zeros((1, 3, 8, 8), np.float32), "noise": np.zeros((1, 4, 3), np.float32)})
    assert (runners["prefix"].calls, runners["expert"].calls) == (3, 3 * STEPS_OF_LOOP)


@pytest.mark.parametrize("method", ["euler", "ddim"])
def test_a_loop_of_engines_gives_what_its_formula_says(method: str, tmp_path: Path) -> None:
    model = make_looped_model(tmp_path / "model", method)
    job = make_job(model, tmp_path)
    wiring.build(OnnxRuntime, job)
    wired = wiring.load(OnnxRuntime, "fp32", job.target, job.contract)
    image = RNG.random((1, 3, 8, 8)).astype(np.float32)
    noise = RNG.standard_normal((1, 4, 3)).astype(np.float32)
    loop = job.contract.loop
    assert loop is not None
    x = noise.copy()
    cache = image.mean()
    for number in range(loop.steps):  # what the expert of the fake computes
        v = (x * np.float32(0.5) + cache + np.float32(loop.times[number])).astype(np.float32)
        x = (euler if method == "euler" else ddim)(loop, number, x, v)
    given = {"cameras.front": image, "noise": noise.copy()}
    assert np.allclose(wired.infer(given), x.reshape(4, 3), atol=1e-5)
    assert np.array_equal(given["noise"], noise), "what was prepared stays as it was"
    assert np.allclose(wired.infer(given), x.reshape(4, 3), atol=1e-5), "and again"


def test_eulers_steps_follow_the_times() -> None:
    loop = Loop("euler", (1.0, 0.25, 0.0), "expert.v")
    x = np.ones(3, np.float32)
    assert np.allclose(euler(loop, 0, x, np.full(3, 2.0, np.float32)), 1.0 - 0.75 * 2.0)
    assert np.allclose(euler(loop, 1, x, np.full(3, 2.0, np.float32)), 1.0 - 0.25 * 2.0)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_ddim_ends_at_what_x_is_taken_for(prediction: str) -> None:
    """With a last alpha of 1 nothing of the noise is left, whatever is predicted."""
    loop = Loop("ddim", (10.0, 0.0), "expert.v", "int64", (0.25, 0.81, 1.0), prediction)
    clean = np.array([0.5, -0.5], np.float32)
    noise = np.array([1.0, 2.0], np.float32)
    x = np.float32(0.5) * clean + np.sqrt(np.float32(0.75)) * noise
    for number in range(2):
        x = ddim(loop, number, x, noise if prediction == "epsilon" else clean)
    assert np.allclose(x, clean, atol=1e-6)


def test_what_x_is_taken_for_is_cut(tmp_path: Path) -> None:
    loop = Loop("ddim", (0.0,), "expert.v", "int64", (0.5, 1.0), "sample", 1.0)
    assert np.allclose(ddim(loop, 0, np.zeros(2, np.float32), np.array([3.0, -9.0], np.float32)), [1.0, -1.0])
