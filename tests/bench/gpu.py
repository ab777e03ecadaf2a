"""For the first GPU: every backend that needs one builds, proves and times the reference policy.

Says `not run` where there is none.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model_registry.core.contract import Contract
from model_registry.core.errors import HomeportError
from stack.engine import wiring, worker
from stack.engine.backends import Backend, choose
from stack.engine.goldens import read_goldens
from stack.engine.inference import Inference
from tests.bench.harness import FULL, ROOT, noise, percentile, report

REFERENCE = ROOT / "stack/models/reference/pilot-1.0.0"
CASES = tuple((name, precision) for name in ("tensorrt", "torch_tensorrt", "torch") for precision in ("fp32", "fp16"))
RUNS = 2000 if FULL else 300


def case(
    kind: type[Backend], name: str, precision: str, folder: Path, build: Callable[..., str] = worker.build
) -> dict[str, object]:
    """Seconds of the first build and of one with its timing cache.

    Also the worst error on the goldens, and milliseconds of the graphs alone.

    Raises HomeportError where it cannot be built or is built in another precision.
    """
    contract = Contract.load(REFERENCE)
    if not kind(precision).identity.device:
        raise HomeportError("it would run on the CPU")
    seconds = []
    for number in (1, 2):
        target, scratch = (folder / f"{name}-{precision}-{part}{number}" for part in ("engine", "scratch"))
        target.mkdir()
        scratch.mkdir()
        parts = (str(REFERENCE), str(target), str(scratch), str(folder / f"{name}.timing"))
        start = time.monotonic()
        built = build(worker.BuildOrder(name, precision, {}, *parts), lambda text: print(text, flush=True))
        if built != precision:
            raise HomeportError(f"it built {built}, not {precision}")
        seconds.append(round(time.monotonic() - start, 1))
    graphs = wiring.load(kind, precision, target, contract)
    inference = Inference(REFERENCE, contract, graphs)
    samples = read_goldens(REFERENCE, contract, precision)
    errors = [float(np.max(np.abs(inference(each.seen).actions - each.action))) for each in samples]
    times = []
    for number in range(RUNS):
        inference(samples[number % len(samples)].seen)
        times.append(inference.backend_s * 1e3)
    return {
        "device": graphs.identity.device,
        "versions": graphs.identity.versions,
        "precision": built,
        "build_s": seconds[0],
        "rebuild_s": seconds[1],
        "worst_error": max(errors),
        "p50_ms": round(percentile(times, 0.5), 3),
        "p99_ms": round(percentile(times, 0.99), 3),
        "device_mb": round(graphs.device_bytes / 1e6, 1),
    }


def main() -> None:
    figures: dict[str, object] = {}
    missing: dict[str, object] = {}
    with noise() as quiet, tempfile.TemporaryDirectory() as folder:
        for name, precision in CASES:
            try:
                figures[f"{name}/{precision}"] = case(choose((name,)).kind, name, precision, Path(folder))
            except HomeportError as error:
                missing[f"{name}/{precision}"] = str(error)
    report("gpu", {"gpu": figures}, {"not_run": missing}, quiet, ran=bool(figures))


if __name__ == "__main__":
    main()
