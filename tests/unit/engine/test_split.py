"""Models with a graph of its own for language: two engines that run as one, and what is kept between frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError, IncompatibleError, IntegrityError, UsageError
from model_registry.core.layout import Layout
from stack.engine import builder, split
from stack.engine.backends.null import Null
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.engine.split import FOLDER, KEPT, Split
from stack.policy.load import find, load
from tests.fakes.jobs import make_job
from tests.fakes.observations import command, drive, feed, ros
from tests.fakes.robot import add_model, build_engine, make_release, release_fields, stage
from tests.fakes.schemas import check
from tests.fakes.tiny import make_split_model, make_tiny_model

RNG = np.random.default_rng(6)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_split_model(tmp_path / "model")


def inputs(number: int = 0) -> dict[str, Any]:
    return {
        "image": RNG.random((1, 3, 112, 112)).astype(np.float32),
        "tokens": np.full((1, 10), number, np.int64),
        "lidar": RNG.random((1, 90)).astype(np.float32),
    }


class Counting(Null):
    """Answers with zeros, and counts."""

    calls = 0

    def infer(self, inputs: Mapping[str, Any]) -> NDArray[np.float32]:
        self.calls += 1
        return np.zeros((1, 4), np.float32)


def counted(model: Path, kept: int = KEPT) -> tuple[Counting, Split]:
    language = Counting()
    return language, Split(language, Counting(), Contract.load(model), kept)


def test_two_graphs_give_what_the_one_gives_that_they_were_cut_from(model: Path, tmp_path: Path) -> None:
    check(json.loads((model / "vla.json").read_bytes()), "vla")
    job = make_job(model, tmp_path)
    assert split.build(OnnxRuntime, job) == "fp32"
    runner = split.load(OnnxRuntime, "fp32", job.target, job.contract)
    whole = onnxruntime.InferenceSession(model.with_name("whole.onnx"), providers=["CPUExecutionProvider"])
    for number in (1, 7, 1, 19, 7):
        given = inputs(number)
        assert np.allclose(runner.infer(given), whole.run(["action"], given)[0], atol=1e-6)
        assert set(given) == {"image", "tokens", "lidar"}
    runner.close()


def test_a_model_of_one_graph_is_its_backend_and_nothing_else(tmp_path: Path) -> None:
    job = make_job(make_tiny_model(tmp_path / "model"), tmp_path)
    assert split.build(OnnxRuntime, job) == "fp32"
    assert isinstance(split.load(OnnxRuntime, "fp32", job.target, job.contract), OnnxRuntime)
    assert not (job.target / FOLDER).exists()


def test_d30_r10_a_command_that_is_repeated_costs_no_inference_of_language(model: Path) -> None:
    language, runner = counted(model)
    words = inputs(3)["tokens"]
    for _ in range(50):  # as the policy does: the same array again
        runner.infer({**inputs(), "tokens": words})
    assert (language.calls, runner.cache.misses, runner.cache.hits) == (1, 1, 49)
    words[0, 0] = 4  # another command in the same array
    runner.infer({**inputs(), "tokens": words})
    runner.infer(inputs(3))
    assert (language.calls, runner.cache.misses, runner.cache.hits) == (2, 2, 50)


def test_d30_what_is_kept_is_bounded_and_the_oldest_goes_first(model: Path) -> None:
    language, runner = counted(model)
    for number in range(KEPT + 1):
        runner.infer(inputs(number))
    runner.infer(inputs(KEPT))
    assert language.calls == KEPT + 1
    runner.infer(inputs(0))
    assert language.calls == KEPT + 2


def test_the_gate_times_the_first_frame_of_a_command_each_time(model: Path) -> None:
    language, runner = counted(model, kept=0)
    for _ in range(5):
        runner.infer(inputs(3))
    assert language.calls == 5


def test_a_release_of_it_is_built_proved_and_driven_and_tells_what_it_kept(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "robot"
    make_release(root, model)
    plan, slot = load(find(Layout.at(root), "a"))
    assert isinstance(slot.inference._backend, Split)
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
    assert set(parts) == {"engine.onnx", "session.json", f"{FOLDER}/engine.onnx", f"{FOLDER}/session.json"}
    (engine / FOLDER / "engine.onnx").write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        builder.check(engine, plan.key)


def test_parity_is_that_of_both_graphs_together(model: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(model / "language.onnx")
    [weights] = [item for item in graph.graph.initializer if item.name == "v"]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.5, "v"))
    onnx.save(graph, model / "language.onnx")
    change(model, lambda fields: fields["files"].update({"language.onnx": digest(model / "language.onnx")}))
    root = tmp_path / "robot"
    name = add_model(root, model)
    result = build_engine(root, stage(root, release_fields(name), name))
    assert [item.metric for item in result.checks if not item.ok] == ["parity_linear_x", "parity_angular_z"]


def test_int8_takes_the_features_from_the_calibration_data(model: Path, tmp_path: Path) -> None:
    job = make_job(model, tmp_path / "good", "int8")
    assert split.build(OnnxRuntime, job) == "int8"
    given = inputs(5)
    narrow = split.load(OnnxRuntime, "int8", job.target, job.contract).infer(given)
    whole = onnxruntime.InferenceSession(model.with_name("whole.onnx"), providers=["CPUExecutionProvider"])
    assert np.max(np.abs(narrow - whole.run(["action"], given)[0])) < 0.5
    arrays = dict(np.load(model / "calibration.npz"))
    del arrays["words"]
    np.savez(model / "calibration.npz", **arrays)
    with pytest.raises(UsageError, match="no array 'words'"):
        split.build(OnnxRuntime, make_job(model, tmp_path / "bad", "int8"))


def digest(path: Path) -> str:
    from model_registry.core.digest import Digest

    return str(Digest.of_file(path))


def change(model: Path, edit: Callable[[Any], object]) -> bytes:
    fields = json.loads((model / "vla.json").read_bytes())
    edit(fields)
    (model / "vla.json").write_text(json.dumps(fields))
    return (model / "vla.json").read_bytes()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda f: f["components"][0].update(role="vision"), "only a component of role llm"),
        (lambda f: f["components"][1].update(role="llm", output=f["components"][0]["output"]), "export two of them"),
        (lambda f: f["components"].pop(1), "export two of them"),
        (lambda f: f["components"][1].update(id="language"), "export two of them"),
        (lambda f: f["components"][0]["output"].update(name="image"), "under a name of its own"),
        (lambda f: f["inputs"].pop(1), "must take the place of one input of text"),
        (lambda f: f["components"][0]["output"].update(dtype="float16"), "unknown key 'dtype'"),
        (lambda f: f["components"][0]["output"].pop("shape"), "shape"),
    ],
)
def test_features_that_do_not_fit_are_refused(model: Path, edit: Callable[[Any], object], words: str) -> None:
    with pytest.raises(HomeportError, match=words):
        Contract.parse(change(model, edit))


def test_graphs_run_in_the_order_of_what_they_need_and_not_in_that_of_the_file(model: Path) -> None:
    before = Contract.load(model)
    assert Contract.parse(change(model, lambda f: f["components"].reverse())).parts() == before.parts()


def test_features_of_another_shape_than_the_graph_gives_are_refused(model: Path, tmp_path: Path) -> None:
    change(model, lambda f: f["components"][0]["output"].update(shape=[1, 5]))
    with pytest.raises(IncompatibleError, match=r"axis 1 of 'words' is 4 long, and vla\.json says 5"):
        split.build(OnnxRuntime, make_job(model, tmp_path))
