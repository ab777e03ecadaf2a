"""A pull of 1 GiB in six files from docker-registry, beside curl with sync, oras-py and skopeo, in turns in one run."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.manifests import Manifest
from model_registry.packing import copy
from model_registry.sources import open_source
from tests.bench.harness import FULL, ROOT, Noise, Trials, report
from tests.fakes.model import NAME
from tests.testbed.registries import docker_registry
from tests.testbed.transfers import MIB, Cost, has, homeport, large_model, measured, oras, work_folder

SIZE = 1024 * MIB
ROUNDS = 5 if FULL else 3
_COUNTING = """
import os, sys
count, real = [0], os.fsync
def fsync(descriptor):
    count[0] += 1
    real(descriptor)
os.fsync = fsync
from model_registry.cli import main
code = main(sys.argv[1:])
print("fsyncs", count[0], file=sys.stderr)
"""


def commands(url: str, layout: Path, digest: Digest, out: Path) -> dict[str, list[str]]:
    """One pull of everything into `out` for each of us."""
    host = url.removeprefix("http://")
    manifest = Manifest.parse(open_source(f"oci:{layout}").manifest(NAME, digest), NAME)
    each = " ".join(f"-o {out}/{blob.digest.hex} {url}/v2/{NAME}/blobs/{blob.digest}" for blob in manifest.blobs)
    pull = ("model", "pull", f"{NAME}@{digest}", "--source", url, "--to", str(out))
    return {
        "homeport": homeport(*pull),
        "curl_sync": ["/bin/sh", "-c", f"curl -sf {each} && sync {out}/*"],
        "oras": oras("pull", f"{host}/{NAME}:1.0.0", str(out)),
        "skopeo": ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{host}/{NAME}:1.0.0", f"dir:{out}"],
    }


def fsyncs(url: str, digest: Digest, out: Path, files: int) -> float:
    argv = [sys.executable, "-c", _COUNTING, "model", "pull", f"{NAME}@{digest}", "--source", url, "--to", str(out)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return round(int(done.stderr.rpartition("fsyncs ")[2]) / files, 2)


def main() -> None:
    if not has("docker-registry", "skopeo", "curl"):
        report("registry_pull", {}, {}, Noise(), ran=False)
        return
    trials, folder = Trials("registry_pull"), work_folder("registry-pull")
    try:
        layout, digest = large_model(folder, SIZE)
        many, small = large_model(folder / "many", 100 * MIB, files=100)
        with docker_registry(folder / "registry") as url, trials.noise():
            copy(open_source(f"oci:{layout}"), open_source(url), NAME, digest, "1.0.0")
            copy(open_source(f"oci:{many}"), open_source(url), NAME, small, "2.0.0")
            argvs = commands(url, layout, digest, folder / "out")
            for number in range(ROUNDS):
                for name, argv in argvs.items():
                    if trials.done(name) <= number:
                        trials.keep(name, pulled(folder / "out", argv))
            trials.run("fsyncs", 1, lambda number: fsyncs(url, small, emptied(folder / "out"), 106))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    trials.report(figures(trials.kept), {"ratio_curl_sync": 0.9, "ratio_oras": 1.2, "ratio_skopeo": 1.5})


def emptied(out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return out


def pulled(out: Path, argv: list[str]) -> dict[str, float]:
    emptied(out)
    subprocess.run(["sync"], check=True)
    return vars(measured(argv))


def figures(kept: Callable[[str], list[dict[str, float]]]) -> dict[str, object]:
    def middle(name: str, part: str) -> float:
        return statistics.median(Cost(**each).__dict__[part] for each in kept(name))

    ours = middle("homeport", "seconds")
    ratios = {f"ratio_{peer}": round(middle(peer, "seconds") / ours, 2) for peer in ("curl_sync", "oras", "skopeo")}
    return {
        **ratios,
        "seconds": round(ours, 2),
        "cpu_s_per_gib": round(middle("homeport", "cpu_s"), 2),
        "rss_mb": round(middle("homeport", "rss_mb"), 1),
        "fsyncs_per_file": kept("fsyncs")[0],
        "spread_s": json.loads(json.dumps([round(each["seconds"], 2) for each in kept("homeport")])),
    }


if __name__ == "__main__":
    main()
