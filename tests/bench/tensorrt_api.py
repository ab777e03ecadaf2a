"""How much of our TensorRT code was held against the real bindings of how many releases, and what is missing there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.bench.harness import noise, report
from tests.fakes import tensorrt_wheels
from tests.fakes.tiny import make_tiny_model


def main() -> None:
    versions, checked, missing, offline = [], set[str](), [], []
    with noise() as quiet, tempfile.TemporaryDirectory() as name:
        model = make_tiny_model(Path(name) / "model")
        for version in tensorrt_wheels.VERSIONS:
            folder = Path(name) / version
            folder.mkdir()
            try:
                done = tensorrt_wheels.run(version, model, folder)
            except tensorrt_wheels.Offline as error:
                offline.append(str(error))
                continue
            if done.returncode:
                missing.append(f"{version}: {done.stderr.strip().splitlines()[-1]}")
                continue
            result = json.loads(done.stdout)
            versions.append(result["version"])
            checked |= set(result["checked"])
    figures = {"tensorrt_api": {"versions": versions, "checked": len(checked), "missing": missing}}
    baselines = {"executed_on_a_gpu": 0, "offline": offline}
    report("tensorrt_api", figures, baselines, quiet, ran=bool(versions or missing))


if __name__ == "__main__":
    main()
