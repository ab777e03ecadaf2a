"""What our backends add to the library beneath them:

`infer` beside a bare call of the same session, in turn, on the same inputs.

Compared is the tenth percentile, which the other work of a shared machine hardly touches; medians stand beside it. Each
pair of calls is turned round, since the second one finds the caches warm. Models: the reference policy and, where torch
can export them, the seed's four networks. Weights are random: only time is asked about.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from model_registry.core.contract import Contract
from model_registry.core.contract.graphs import Graph
from stack.engine.backends import Job
from stack.engine.backends.onnxruntime import OnnxRuntime
from stack.models import package
from stack.models.package import Form
from tests.bench.harness import FULL, ROOT, noise, percentile, report
from tests.fakes.tiny import random_observation, write_small_files

REFERENCE = ROOT / "stack/models/reference/pilot-1.0.0"
SECONDS = 12.0 if FULL else 3.0
LONG_MS, LONG_RATIO, SHORT_EXTRA_MS = 5.0, 1.03, 0.025
INPUTS = ("image", "tokens", "lidar")

Case = Callable[[], dict[str, float]]


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def models(folder: Path) -> Iterator[tuple[str, Path, Any]]:
    """Name, model folder, and the torch module where there is one."""
    shutil.copytree(REFERENCE, folder / "reference")
    yield "reference", folder / "reference", None
    if not has("torch", "onnxscript", "stack.models.seed"):
        return
    import torch

    seed = importlib.import_module("stack.models.seed")
    steps = Contract.load(REFERENCE).action.horizon
    for name in seed.NETWORKS:
        network = seed.network(name, steps)
        target = folder / name
        target.mkdir()
        write_small_files(target)
        torch.onnx.export(
            network, network.examples(), str(target / package.GRAPH), input_names=list(INPUTS),
            output_names=[package.OUTPUT], opset_version=18, dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        advisory = "safety" if network.shape.advisory else None
        sizes = (network.shape.sectors, network.shape.tokens)
        document = package.contract("1.0.0", steps, Form("homeport/seed", network.image, "linear", *sizes, advisory))
        rng = np.random.default_rng(1)
        package.finish(target, document, [], [random_observation(rng) for _ in range(4)])
        yield name, target, network


def given(graph: Graph, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        item.name: rng.integers(2, 20, item.shape) if item.dtype == "int64" else rng.random(item.shape, np.float32)
        for item in graph.inputs
    }


def pair(ours: Callable[[], object], bare: Callable[[], object], name: str) -> dict[str, float]:
    """Milliseconds of one call of each in turn, until the time is up."""
    sides: list[tuple[Callable[[], object], list[float]]] = [(ours, []), (bare, [])]
    for _ in range(10):
        ours(), bare()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for work, taken in sides:
            start = time.perf_counter()
            work()
            taken.append((time.perf_counter() - start) * 1e3)
        sides.reverse()
    times = {"ours": next(t for work, t in sides if work is ours), name: next(t for work, t in sides if work is bare)}
    return {
        f"{side}_{share}_ms": percentile(taken, share_of)
        for side, taken in times.items()
        for share, share_of in (("p10", 0.1), ("p50", 0.5))
    }


def job(model: Path, precision: str, name: str) -> Job:
    folders = [model.with_name(f"{model.name}-{part}-{name}") for part in ("engine", "scratch")]
    for folder in folders:
        folder.mkdir()
    contract = Contract.load(model)
    [graph] = contract.graphs
    return Job(model, contract, graph, precision, {}, *folders, folders[1] / "timing")


def onnx_case(model: Path, precision: str) -> Case:
    """Ours beside `session.run` of a second session that has the same engine and options; the library's defaults beside
    both.
    """
    order = job(model, precision, precision)
    OnnxRuntime.build(order)
    ours, same = OnnxRuntime(precision), OnnxRuntime(precision)
    ours.load(order.target, order.graph)
    same.load(order.target, order.graph)
    x, session = given(order.graph, np.random.default_rng(0)), same._session
    names = [item.name for item in order.graph.outputs]
    usual = onnxruntime.InferenceSession(str(model / order.graph.path), providers=["CPUExecutionProvider"])

    def measure() -> dict[str, float]:
        times = pair(lambda: ours.infer(x), lambda: session.run(names, x), "run")
        defaults = pair(lambda: None, lambda: usual.run(names, x), "run")
        return {**times, "library_defaults_fp32_p50_ms": defaults["run_p50_ms"]}

    return measure


def torch_case(model: Path, network: Any) -> Case:
    """Our reading of the graph beside the network that it was exported from."""
    import torch

    from stack.engine.backends.torch import Torch

    order = job(model, "fp32", "torch")
    Torch.build(order)
    ours = Torch("fp32")
    ours.load(order.target, order.graph)
    x = given(order.graph, np.random.default_rng(0))
    inputs = [torch.from_numpy(x[name]) for name in INPUTS]

    def measure() -> dict[str, float]:
        with torch.inference_mode():
            return pair(lambda: ours.infer(x), lambda: network(*inputs).numpy(), "eager")

    return measure


def main() -> None:
    prepared: dict[str, Case] = {}
    with tempfile.TemporaryDirectory() as name:
        for model, folder, network in models(Path(name)):
            for precision in ("fp32", "int8"):
                prepared[f"{model}/onnxruntime/{precision}"] = onnx_case(folder, precision)
            if network is not None:
                prepared[f"{model}/torch/fp32"] = torch_case(folder, network)
        with noise() as quiet:
            cases = {key: measure() for key, measure in prepared.items()}
    bare = [(case["ours_p10_ms"], case["run_p10_ms"]) for case in cases.values() if "run_p10_ms" in case]
    within = [ours <= (run * LONG_RATIO if run > LONG_MS else run + SHORT_EXTRA_MS) for ours, run in bare]
    figures = {
        "worst_ratio_to_raw": round(max(ours / run for ours, run in bare), 3),
        "worst_extra_us": round(max((ours - run) * 1e3 for ours, run in bare), 1),
        "cases": len(within),
        "within": sum(within),
    }
    rounded = {key: {part: round(value, 3) for part, value in case.items()} for key, case in cases.items()}
    report("backends", {"backends": figures}, rounded, quiet)


if __name__ == "__main__":
    main()
