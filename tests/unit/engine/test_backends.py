"""Backends against the contract they are loaded with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry.core.contract.graphs import GraphTensor
from model_registry.core.errors import HomeportError, IncompatibleError
from stack.engine.backends import Runner
from stack.engine.backends.null import Null
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.engine.machine import available_cores
from stack.engine.observing import Tensor
from tests.fakes.jobs import build_and_load, inputs_of, make_job
from tests.fakes.tiny import STEPS, make_tiny_model


def action_of(backend: Runner, given: Mapping[str, Tensor]) -> Any:
    """A copy of what the graph gives: it is valid until the next call."""
    return backend.infer(given)["action"].copy()


def changed(item: GraphTensor, name: str, **changes: Any) -> GraphTensor:
    """The same input, or another one where it has this name."""
    return replace(item, **changes) if item.name == name else item


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


def test_a_built_engine_answers_in_the_contracts_shape(model: Path, tmp_path: Path) -> None:
    job = make_job(model, tmp_path)
    backend = build_and_load(OnnxRuntime, job)
    first, second = (action_of(backend, inputs_of(job.graph)) for _ in range(2))
    assert first.shape == (1, STEPS, 2) and first.dtype == np.float32
    assert np.array_equal(first, second)
    assert backend.identity.versions["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize(
    "change",
    [
        lambda g: replace(g, inputs=g.inputs[:2]),
        lambda g: replace(g, inputs=tuple(changed(item, "image", shape=(1, 3, 224, 224)) for item in g.inputs)),
        lambda g: replace(g, inputs=tuple(changed(item, "tokens", dtype="float32") for item in g.inputs)),
        lambda g: replace(g, outputs=(replace(g.outputs[0], name="velocity"),)),
        lambda g: replace(g, outputs=(replace(g.outputs[0], shape=(1, STEPS, 3)),)),
    ],
)
def test_a_graph_that_is_not_what_its_contract_says_is_refused(model: Path, tmp_path: Path, change) -> None:
    job = make_job(model, tmp_path)
    OnnxRuntime.build(job)
    with pytest.raises(IncompatibleError, match=r"vla\.json says"):
        OnnxRuntime("fp32").load(job.target, change(job.graph))


def test_a_graph_that_is_no_graph_is_one_clear_error(model: Path, tmp_path: Path) -> None:
    (model / "policy.onnx").write_bytes(b"not a graph")
    with pytest.raises(HomeportError, match="export the model again") as error:
        OnnxRuntime.build(make_job(model, tmp_path))
    assert "\n" not in str(error.value)


def test_an_input_that_is_written_again_or_is_another_array_is_what_is_computed(model: Path, tmp_path: Path) -> None:
    job = make_job(model, tmp_path)
    backend = build_and_load(OnnxRuntime, job)
    given = inputs_of(job.graph)
    before = action_of(backend, given)
    given["lidar"][:] = 3.0
    rewritten = action_of(backend, given)
    other = action_of(backend, {**given, "lidar": given["lidar"].copy()})
    strided = np.asfortranarray(np.repeat(given["image"], 2, axis=3))[..., ::2]
    assert not np.array_equal(before, rewritten)
    assert np.array_equal(rewritten, other)
    assert np.array_equal(rewritten, action_of(backend, {**given, "image": strided}))
    strided[:] = 5.0
    assert not np.array_equal(rewritten, action_of(backend, {**given, "image": strided}))


@pytest.mark.parametrize(("size", "threads"), [(10, 1), (30_000_000, available_cores())])
def test_cores_are_used_by_what_has_enough_to_multiply(model: Path, tmp_path: Path, size: int, threads: int) -> None:
    job = make_job(model, tmp_path)
    OnnxRuntime.build(job)
    note = job.target / "session.json"
    assert 0 < json.loads(note.read_bytes())["multiplications"] < 1000
    note.write_text(json.dumps({"multiplications": size}))
    backend = OnnxRuntime("fp32")
    backend.load(job.target, job.graph)
    assert backend._session.get_session_options().intra_op_num_threads == threads


def test_an_engine_that_was_closed_can_be_opened_again(model: Path, tmp_path: Path) -> None:
    job = make_job(model, tmp_path)
    backend = build_and_load(OnnxRuntime, job)
    first = action_of(backend, inputs_of(job.graph))
    backend.close()
    backend.load(job.target, job.graph)
    assert np.array_equal(first, action_of(backend, inputs_of(job.graph)))


def test_no_session_spins_and_one_graph_runs_at_a_time(model: Path, tmp_path: Path) -> None:
    options = build_and_load(OnnxRuntime, make_job(model, tmp_path))._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.inter_op_num_threads == 1


def in_an_environment(tmp_path: Path, files: dict[str, str], program: str) -> list[str]:
    """What `program` prints where these modules are found before any other."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    path = os.pathsep.join((str(tmp_path), str(Path(__file__).parents[3])))
    command = [sys.executable, "-W", "ignore", "-c", program]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_a_library_whose_own_libraries_are_missing_is_a_backend_that_is_not_here(tmp_path: Path, error: str) -> None:
    """torch says OSError when the libraries of CUDA are not injected into its container."""
    lines = in_an_environment(
        tmp_path,
        {"torch/__init__.py": f"raise {error}('libcublas.so.12: cannot open\\nshared object file')"},
        "from stack.engine.backends import choose\n"
        "found = choose(('torch', 'null'))\n"
        "print(found.name, found.degraded)\nprint(*found.skipped)",
    )
    assert lines == ["null True", "torch: libcublas.so.12: cannot open shared object file"]


CUDA = """
import onnxruntime
onnxruntime.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
from stack.engine.backends import choose
found = choose(("onnxruntime", "null"))
print(found.name, *found.skipped)
identity = found.kind("fp32").identity
print(identity.versions.get("provider"), identity.versions.get("cuda"), identity.device.get("driver"))
"""
DEVICE = (
    'DEVICE = {"name": "Orin", "driver": "13000 580.1"}\ndef version(): return "13000"\ndef free_bytes(): return 1\n'
)


def test_onnx_runtime_on_cuda_is_known_by_its_device_and_runs_on_the_cpu_without_one(tmp_path: Path) -> None:
    """Else an engine proved with one GPU or driver would be taken as proved for another."""
    there = "import sys, types\nsys.modules['stack.engine.backends.cuda'] = m = types.ModuleType('cuda')\n"
    lines = in_an_environment(tmp_path, {}, f"{there}exec({DEVICE!r}, vars(m))\n{CUDA}")
    assert lines == ["onnxruntime", "CUDAExecutionProvider 13000 13000 580.1"]
    gone = in_an_environment(tmp_path, {"cuda/__init__.py": "raise ImportError('no CUDA device')"}, CUDA)
    assert gone == ["onnxruntime", "CPUExecutionProvider None None"]


@pytest.mark.parametrize("busy", [True, False])
def test_the_null_backend_takes_its_time(busy: bool) -> None:
    import time

    start = time.monotonic()
    Null(ms=20.0, busy=busy).infer({})
    assert 0.02 <= time.monotonic() - start < 2.0
