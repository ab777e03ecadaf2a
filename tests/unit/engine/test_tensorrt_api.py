"""Our TensorRT builder and runner against the real bindings of several releases: every class, method, enum and argument
that they use exists there.

What this does not show is that anything runs: no function of TensorRT itself is called (docs/hardware-checklist.md).
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from model_registry.core.errors import HomeportError, IncompatibleError
from stack.engine import precision
from stack.engine.backends.onnxruntime import OnnxRuntime
from tests.fakes import tensorrt_wheels
from tests.fakes.surface import Module, Surface, SurfaceError
from tests.fakes.tensorrt_wheels import LIBRARIES, VERSIONS, Offline, parameters, undefined, wheels
from tests.fakes.tiny import make_tiny_model

ROOT = Path(__file__).parents[3]


@functools.cache
def fetched(version: str) -> Path | str:
    """The unpacked wheels, or why there are none."""
    if sys.platform != "linux" or not shutil.which("cc"):
        return "needs Linux and a C compiler"
    try:
        return wheels(version)
    except Offline as error:
        return str(error)


def bindings(version: str) -> Path:
    folder = fetched(version)
    if isinstance(folder, Path):
        return folder
    assert os.environ.get("CI") != "true", folder
    pytest.skip(folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = make_tiny_model(tmp_path_factory.mktemp("tensorrt") / "model")

    @functools.cache
    def run(version: str) -> dict[str, Any]:
        bindings(version)
        done = tensorrt_wheels.run(version, model, tmp_path_factory.mktemp(version))
        assert done.returncode == 0, done.stderr[-2000:]
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def test_the_releases_of_every_jetpack_and_the_next_major_one_are_checked() -> None:
    assert VERSIONS == ["10.3", "10.13", "10.16", "11.4"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_bindings_want_nothing_but_what_the_stubs_are_made_of(version: str) -> None:
    library = bindings(version) / "tensorrt_bindings" / "tensorrt.so"
    assert undefined(library) == {name for names in LIBRARIES.values() for name in names}


@pytest.mark.parametrize("version", VERSIONS)
def test_d05_d06_r05_everything_that_we_use_is_there_and_takes_what_we_give(version: str, ran: Any) -> None:
    result = ran(version)
    assert result["version"].startswith(version)
    assert len(result["checked"]) > 50
    assert result["identity"][0]["tensorrt"] == result["version"]
    assert result["identity"][1]["sm"] == "87"


@pytest.mark.parametrize("version", VERSIONS)
def test_out_of_memory_is_tried_once_more_with_half_and_said_why(version: str, ran: Any) -> None:
    result = ran(version)
    retries = [line for line in result["said"] if line.startswith("Out of memory")]
    assert len(retries) == 1 and "workspace 3072 MiB, 6144 MiB free" in retries[0]
    assert result["errors"]["starved_tries"] == "2"
    assert "workspace 1535 MiB, 6143 MiB free" in result["errors"]["starved"]
    for text in (retries[0], result["errors"]["starved"]):  # the warning that is the cause, and the error that hides it
        assert "due to insufficient memory" in text and "any implementation for node Conv_7" in text


@pytest.mark.parametrize("version", VERSIONS)
def test_d06_what_is_asked_of_a_builder_is_what_every_release_shares(version: str, ran: Any) -> None:
    result = ran(version)
    assert result["asked"] == {
        "network": [result["strong"]] * 3,
        "cleared": ["TF32"] * 3,
        "workspace": [["WORKSPACE", 3072], ["WORKSPACE", 1536], ["WORKSPACE", 3072]],
        "timing": ["", "", "plan of the engine"],
    }
    used = set(result["checked"])
    assert {
        "IExecutionContext.execute_async_v3",
        "IBuilderConfig.progress_monitor",
        "ProfilingVerbosity.DETAILED",
    } <= used
    assert ("BuilderFlag.EDITABLE_TIMING_CACHE" in used) is (version != "10.3")


@pytest.mark.parametrize("version", VERSIONS)
def test_d04_d10_r06_an_engine_computes_on_buffers_that_never_move_and_gives_them_back(version: str, ran: Any) -> None:
    result = ran(version)
    assert result["outputs"] == [3.0, 7.0]
    assert result["held"] > 0 and result["leaked"] == result["made_to_infer"] == 0


def test_d07_there_is_one_cuda_context_and_it_is_the_runtimes_own() -> None:
    """The runtime's calls make and use the primary context, which torch shares; only the driver's could make others."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "stack").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    imported |= {f"{n.module}.{each.name}" for n in nodes if isinstance(n, ast.ImportFrom) for each in n.names}
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert {name for name in imported if name.startswith(("cuda", "pycuda"))} == {"cuda.bindings.runtime"}
    assert not [name for name in called if "CtxCreate" in name or "make_context" in name]


NO_DRIVER = """
import sys, types
sys.modules["tensorrt"] = types.ModuleType("tensorrt")
from stack.engine.backends import choose
found = choose(("tensorrt", "null"))
print(found.name, found.degraded, *found.skipped)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_d13_where_no_driver_answers_the_real_bindings_make_a_backend_that_is_not_here(version: str) -> None:
    """Some releases of cuda-python give a status, others raise."""
    path = os.pathsep.join((str(bindings(version)), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", NO_DRIVER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("null True tensorrt: no CUDA device (")


@pytest.mark.parametrize("version", VERSIONS)
def test_precision_is_read_from_the_inspector_and_progress_and_timings_are_kept(version: str, ran: Any) -> None:
    result = ran(version)
    assert result["precision"] == ["fp16", "fp16"]
    assert "Building: 18 of 20." in result["said"] and not [line for line in result["said"] if "Tactics" in line]
    assert result["timing"] == "plan of the engine"


@pytest.mark.parametrize("version", VERSIONS)
def test_timings_that_a_killed_build_left_or_that_are_damaged_end_no_later_build(version: str, ran: Any) -> None:
    """Torch-TensorRT writes its file in place, so it is given its own; TensorRT makes nothing of a damaged one."""
    result, kept = ran(version), "plan of the engine"
    damaged = "half of some timings"
    assert result["damaged"] == ["fp16", damaged, "", kept]
    assert result["torch"]["timing"] == [kept, "fp16", kept, kept]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("parse", "node 7 is odd"),
        ("other", "TensorRT gave no reason"),
        ("foreign", "cannot be loaded"),
        ("contract", "vla.json says"),
        ("run", "the engine did not run"),
        ("unread", 'its inspector tells {"Layers": ["a layer by its name alone"]}; send this line'),
    ],
)
def test_what_tensorrt_refuses_is_one_line_that_says_why(version: str, case: str, words: str, ran: Any) -> None:
    text = ran(version)["errors"][case]
    assert words in text and "\n" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_foreign_to_another_tensorrt_whichever_backend_built_it(version: str, ran: Any) -> None:
    result = ran(version)
    native, compiled = result["identity"][0], result["torch"]["identity"]
    assert native["tensorrt"] == compiled["tensorrt"] == result["version"]
    assert set(compiled) == {"torch_tensorrt", "torch", "tensorrt", "cuda"}


def calls(name: str) -> list[ast.Call]:
    tree = ast.parse((ROOT / "stack/engine/backends/torch_tensorrt.py").read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def options_of_ours() -> tuple[set[str], set[str]]:
    """What we always give to `compile`, and what only where it is known: the keys in `compile_options`."""
    tree = ast.parse((ROOT / "stack/engine/backends/torch_tensorrt.py").read_text())
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "compile_options")
    always = {ast.literal_eval(k) for n in ast.walk(function) if isinstance(n, ast.Dict) for k in n.keys if k}
    tested = {
        ast.literal_eval(n.left)
        for n in ast.walk(function)
        if isinstance(n, ast.Compare) and isinstance(n.left, ast.Constant)
    }
    return always, tested


@pytest.mark.parametrize("version", VERSIONS)
def test_d14_r04_torch_tensorrt_takes_what_we_give_it(version: str) -> None:
    """Unknown names would not even be an error there: `compile` swallows them."""
    wheel = bindings(version)
    known = parameters(wheel, "dynamo/_compiler.py", "compile")
    always, tested = options_of_ours()
    assert "timing_cache_path" in always and tested == {"use_explicit_typing"}
    assert always | {"inputs", "exported_program"} <= known
    assert ("use_explicit_typing" in known) is (version != "11.4")
    for name, file in (("save", "_compile.py"), ("load", "_compile.py")):
        (call,) = calls(f"torch_tensorrt.{name}")
        assert {each.arg for each in call.keywords} <= parameters(wheel, file, name)
    runtime = (wheel / "torch_tensorrt/dynamo/runtime/_TorchTensorRTModule.py").read_text()
    assert "def get_layer_info(self) -> str" in runtime


@pytest.mark.parametrize("version", VERSIONS)
def test_torch_tensorrt_has_its_engines_tell_the_precision_that_is_read_from_them(version: str, ran: Any) -> None:
    """Else they tell names, no build is ever in the precision that was asked for, and each ends so after minutes.

    The one method that we wrap sets it and nothing else does, and `run` calls that method by its name.
    """
    done = ran(version)["torch"]
    assert done["precision"] == "fp16" and done["restored"]
    assert "cannot be read" in done["unread"] and "send this line" in done["unread"]
    sources = {path: path.read_text() for path in (bindings(version) / "torch_tensorrt/dynamo").rglob("*.py")}
    (builds,) = (path for path, text in sources.items() if re.search("profiling_verbosity *=", text))
    assert builds.name == "_TRTInterpreter.py"
    (kind,) = (n for n in ast.parse(sources[builds]).body if isinstance(n, ast.ClassDef) and n.name == "TRTInterpreter")
    methods = {node.name: ast.unparse(node) for node in kind.body if isinstance(node, ast.FunctionDef)}
    assert [name for name, text in methods.items() if "profiling_verbosity" in text] == ["_populate_trt_builder_config"]
    assert "builder_config = self._populate_trt_builder_config(" in methods["run"]
    assert "from ._TRTInterpreter import *" in (builds.parent / "__init__.py").read_text()
    assert not [path for path, text in sources.items() if "_populate_trt_builder_config" in text and path != builds]


class Config:
    def set_limit(self) -> None:
        """set_limit(self: x.Config, pool: x.Pool, size: int = 3) -> bool"""

    level = property(lambda self: 1, lambda self, value: None, None, None)


class Pool:
    pass


Config.level.fget.__doc__ = "(arg0: x.Config) -> int"
Config.level.fset.__doc__ = "(arg0: x.Config, arg1: int) -> None"


def surface() -> Surface:
    real = ModuleType("x")
    real.Config, real.Pool = Config, Pool  # type: ignore[attr-defined]
    return Surface(real, {}, ("Pool",))


def test_a_wrong_call_is_noticed() -> None:
    """Else the checks above would prove nothing."""
    from tests.fakes.surface import Recorded

    config = Recorded(surface(), Config)
    assert config.set_limit(Pool(), size=4) is True
    config.level = 4
    assert config.level == 4
    for wrong in (
        lambda: config.set_limit(),
        lambda: config.set_limit(Pool(), 1, 2),
        lambda: config.set_limit(4, 4),
        lambda: config.set_limit(Pool(), "4"),
        lambda: config.set_limit(Pool(), True),
        lambda: config.set_limit(Pool(), bytes=4),
        lambda: setattr(config, "level", "high"),
        lambda: setattr(config, "set_limit", 1),
    ):
        with pytest.raises(SurfaceError):
            wrong()
    with pytest.raises(AttributeError):
        config.set_workspace(4)
    with pytest.raises(AttributeError):
        Module(surface()).Builder  # noqa: B018


def test_the_bench_for_the_first_gpu_counts_no_case_that_was_built_in_another_precision(tmp_path: Path) -> None:
    from tests.bench import gpu

    class Seeming(OnnxRuntime):
        def __init__(self, precision: str) -> None:
            super().__init__(precision)
            self.identity = replace(self.identity, device={"name": "none"})

    assert gpu.case(Seeming, "onnxruntime", "fp32", tmp_path)["precision"] == "fp32"
    with pytest.raises(HomeportError, match="it built fp32, not fp16"):
        gpu.case(Seeming, "onnxruntime", "fp16", tmp_path, lambda order, say: "fp32")


def test_nothing_known_is_unknown() -> None:
    assert precision.verdict(Counter()) == precision.of_inspection('{"Layers": ["names", "only"]}') == "unknown"
    for told in ((), ("",), ('{"Layers": ["names", "only"]}',)):
        with pytest.raises(IncompatibleError, match="cannot be read"):
            precision.of_engines(*told)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([{"Weights": {"Type": "Half", "Count": 9}}, {"Weights": {"Type": "Float", "Count": 1}}], "fp16"),
        ([{"Weights": {"Type": "Float", "Count": 9}}], "fp32"),
        ([{"Weights": {"Type": "BFloat16", "Count": 9}}], "bf16"),
        ([{"Weights": {"Type": "Int8", "Count": 6}}, {"Weights": {"Type": "Float", "Count": 4}}], "int8"),
        (
            [{"Weights": {"Type": "Half", "Count": 1}}, {"Weights": {"Type": "Float", "Count": 1}}],
            "50 % fp16, 50 % fp32",
        ),
        ([{"Outputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]}], "fp16"),
        ([{"Outputs": [{"Format/Datatype": "Row major linear FP32"}]}], "fp32"),
        ([{"Outputs": [{"Format/Datatype": "mystery"}]}], "unknown"),
        (
            [
                {"LayerType": "Reformat", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
                {"LayerType": "gemm", "Outputs": [{"Format/Datatype": "Row major linear BF16"}]},
                "only a name",
            ],
            "bf16",
        ),
    ],
)
def test_an_inspectors_words_are_understood(layers: list[Any], said: str) -> None:
    assert precision.of_inspection(json.dumps({"Layers": layers})) == said
