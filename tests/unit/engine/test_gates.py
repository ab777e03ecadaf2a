"""What the gate `prove` lets through, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.errors import UsageError
from model_registry.core.layout import Layout
from model_registry.core.release import Recipe
from stack.engine.backends import Runner
from stack.engine.backends.null import Null
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.engine.gates import TIMED_RUNS, prove
from stack.engine.goldens import read_goldens
from stack.engine.inference import Inference
from stack.engine.machine import available_cores
from stack.engine.wiring import Wired
from stack.policy.load import proved_engine
from tests.fakes.jobs import build_and_load, make_job
from tests.fakes.proving import failed, gate, hogs
from tests.fakes.tiny import STEPS, add_calibration, make_tiny_model

REFERENCE = Path(__file__).parents[3] / "stack/models/reference/pilot-1.0.0"


def test_a_good_engine_is_healthy_and_ready(tmp_path: Path) -> None:
    result, folder = gate(tmp_path, make_tiny_model(tmp_path / "model"))
    assert result.passed, failed(result)
    assert (folder / "engine" / "ready").exists()
    assert json.loads((folder / "prove.json").read_bytes())["verdict"] == "healthy"


def test_the_reference_policy_is_healthy(tmp_path: Path) -> None:
    """But for its latency, which is a matter of the machine, and of a bench."""
    result, _ = gate(tmp_path, REFERENCE)
    assert set(failed(result)) <= {"inference_p99_ms", "cadence_ms"}, failed(result)


@pytest.mark.parametrize(
    ("spoilt", "metrics"),
    [
        ({"wrong_by": 0.01}, ["parity_linear_x", "parity_angular_z"]),
        ({"poison": True}, ["non_finite", "parity_linear_x", "repeat_difference"]),
    ],
)
def test_wrong_numbers_fail_and_leave_no_ready_engine(
    tmp_path: Path, spoilt: dict[str, Any], metrics: list[str]
) -> None:
    result, folder = gate(tmp_path, make_tiny_model(tmp_path / "model", **spoilt))
    assert failed(result) == metrics
    assert not (folder / "engine" / "ready").exists()


@pytest.mark.parametrize(
    ("budget", "metric"),
    [({"inference_p99_ms": 0.001}, "inference_p99_ms"), ({"peak_memory_bytes": 1}, "peak_memory_bytes")],
)
def test_a_budget_that_is_too_small_fails(tmp_path: Path, budget: dict[str, float], metric: str) -> None:
    result, folder = gate(tmp_path, make_tiny_model(tmp_path / "model"), budget)
    assert failed(result) == [metric]
    assert not (folder / "engine" / "ready").exists()


def test_d12_a_second_choice_is_degraded_and_measured_against_what_the_cadence_allows(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    result, folder = gate(tmp_path, model, {"inference_p99_ms": 0.001}, backends=["tensorrt", "onnxruntime"])
    assert result.verdict == "degraded-hw" and result.passed, failed(result)
    checks = {item.metric: item for item in result.checks}
    assert checks["inference_p99_ms"].threshold == checks["cadence_ms"].threshold
    assert "onnxruntime in fp32 with every core busy" in checks["inference_p99_ms"].text
    assert proved_engine(folder, (folder / "engine").resolve().name).exists()


def test_int8_is_built_from_the_models_calibration_data_and_proved(tmp_path: Path) -> None:
    result, folder = gate(tmp_path, add_calibration(make_tiny_model(tmp_path / "model")), precision="int8")
    assert result.passed, failed(result)
    assert json.loads((folder / "engine" / "key.json").read_bytes())["precision"] == "int8"


RECIPE = Recipe(("onnxruntime",), "fp32", 250.0, 8 << 30)


class Zeros(Null):
    """Answers with zeros, after its time."""

    def infer(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        super().infer(inputs)
        return {"action": np.zeros((1, STEPS, 2), np.float32)}


def inference(model: Path, backend: Runner) -> Inference:
    """The whole path of a tiny model around a backend of its one graph."""
    contract = Contract.load(model)
    return Inference(model, contract, Wired(contract, {"policy": backend}, kept=0))


class Stale(OnnxRuntime):
    """Keeps the first copy of an array that is written again."""

    def infer(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = self.__dict__.setdefault("kept", {})
        return super().infer({name: kept.setdefault(id(value), value.copy()) for name, value in inputs.items()})


def test_a_backend_that_computes_with_an_old_copy_fails_parity(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    job = make_job(model, tmp_path)
    samples = read_goldens(model, job.contract, "fp32")
    results = []
    for kind in (OnnxRuntime, Stale):
        results.append(prove(inference(model, build_and_load(kind, job)), samples, RECIPE))
    assert failed(results[0]) == []
    assert failed(results[1]) == ["parity_linear_x", "parity_angular_z"]


def test_memory_that_the_engine_holds_on_its_device_counts(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    contract = Contract.load(model)
    backend = Zeros()
    backend.device_bytes = 9 << 30
    samples = read_goldens(model, contract, "fp32")
    result = prove(inference(model, backend), samples, RECIPE)
    assert "peak_memory_bytes" in failed(result)


class Watching(Null):
    """Looks around whenever it runs."""

    def infer(self, inputs: object) -> Mapping[str, Any]:
        self.__dict__.setdefault("beside", []).append(len(hogs()))
        return {"action": np.zeros((1, STEPS, 2), np.float32)}


def test_every_core_is_busy_while_latency_is_taken_and_only_then(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    contract, watching = Contract.load(model), Watching()
    prove(inference(model, watching), read_goldens(model, contract, "fp32"), RECIPE)
    seen = watching.__dict__["beside"]
    assert seen[-TIMED_RUNS:] == [available_cores()] * TIMED_RUNS
    assert set(seen[:-TIMED_RUNS]) == {0}


def test_a_precision_without_a_tolerance_fails(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    document = json.loads((model / "vla.json").read_bytes())
    for golden in document["goldens"]:
        del golden["tolerance"]["bf16"]
    (model / "vla.json").write_text(json.dumps(document))
    result, _ = gate(tmp_path, model, precision="bf16", backends=["null"])
    assert failed(result) == ["inputs"]
    assert "no tolerance for precision bf16" in result.checks[0].text


def test_a_later_failure_does_not_take_a_ready_engine_away(tmp_path: Path) -> None:
    good = make_tiny_model(tmp_path / "good")
    _, first = gate(tmp_path, good)
    result, second = gate(tmp_path, make_tiny_model(tmp_path / "bad", "1.0.1", wrong_by=1.0))
    assert not result.passed
    assert (first / "engine").resolve() == (second / "engine").resolve()
    assert (first / "engine" / "ready").exists()
    assert json.loads((first / "engine" / "gate.json").read_bytes())["verdict"] == "healthy"
    assert json.loads((second / "prove.json").read_bytes())["verdict"] == "unhealthy"


class Drifting(Null):
    """Never gives the same answer twice."""

    calls = 0

    def infer(self, inputs: object) -> Mapping[str, Any]:
        self.calls += 1
        return {"action": np.full((1, STEPS, 2), self.calls, np.float32)}


def test_an_engine_that_answers_differently_each_time_fails(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    contract = Contract.load(model)
    samples = read_goldens(model, contract, "fp32")
    result = prove(inference(model, Drifting()), samples, RECIPE)
    assert "repeat_difference" in failed(result)


def test_a_policy_too_slow_for_its_steps_fails_whatever_its_budget(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    document = json.loads((model / "vla.json").read_bytes())
    document["action"]["execute_steps"] = 1
    document["action"]["control_hz"] = 200.0
    (model / "vla.json").write_text(json.dumps(document))
    samples = read_goldens(model, Contract.load(model), "fp32")
    result = prove(inference(model, Zeros(ms=3.0)), samples, RECIPE)
    assert "cadence_ms" in failed(result)


def test_goldens_with_a_missing_array_are_named(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    np.savez(model / "golden" / "one.npz", image=np.zeros(3))
    with pytest.raises(UsageError, match=r"golden/one\.npz: no array 'cameras\.front'; it has image"):
        list(read_goldens(model, Contract.load(model), "fp32"))


def test_goldens_may_be_stacked(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    with np.load(model / "golden" / "one.npz") as arrays:
        stacked = {name: np.concatenate([arrays[name]] * 3) for name in arrays.files}
    np.savez(model / "golden" / "one.npz", **stacked)
    assert len(list(read_goldens(model, Contract.load(model), "fp32"))) == 4


def test_pickled_goldens_are_refused(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    np.savez(model / "golden" / "one.npz", image=np.array([{}], dtype=object))
    with pytest.raises(UsageError, match="golden/one"):
        list(read_goldens(model, Contract.load(model), "fp32"))


def test_the_layout_of_an_engine_folder_is_the_documented_one(tmp_path: Path) -> None:
    _, folder = gate(tmp_path, make_tiny_model(tmp_path / "model"))
    assert sorted(path.name for path in (folder / "engine").iterdir()) == [
        "gate.json",
        "key.json",
        "policy",
        "ready",
    ]
    built = sorted(path.name for path in (folder / "engine" / "policy").iterdir())
    assert built == ["engine.onnx", "session.json"]
    assert (folder / "engine").readlink().parts[:3] == ("..", "..", "engines")
    assert (folder / "engine").resolve().parent == Layout.at(tmp_path / "robot").engines
