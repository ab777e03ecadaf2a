"""A push of 512 MiB in six files to a fresh docker-registry, beside skopeo and oras-py, in turns in one run; and a copy
within one registry, which sends nothing.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.manifests import Manifest
from model_registry.packing import copy
from model_registry.sources import open_source
from tests.bench.harness import FULL, Noise, Trials, report
from tests.fakes.model import NAME
from tests.testbed.registries import docker_registry
from tests.testbed.transfers import MIB, has, homeport, large_model, measured, oras, work_folder

SIZE = 512 * MIB
ROUNDS = 5 if FULL else 3
PEERS = ("skopeo", "oras")


def command(name: str, url: str, layout: Path, digest: Digest, prepared: Path) -> list[str]:
    host = url.removeprefix("http://")
    if name == "homeport":
        return homeport("model", "push", f"{NAME}:1.0.0", "--from", f"oci:{layout}", "--to", url)
    if name == "skopeo":
        return ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"dir:{prepared}", f"docker://{host}/{NAME}:1.0.0"]
    manifest = Manifest.parse(open_source(f"oci:{layout}").manifest(NAME, digest), NAME)
    files = [str(layout / "blobs/sha256" / layer.digest.hex) for layer in manifest.layers]
    return oras("push", f"{host}/{NAME}:1.0.0", *files)


def pushed(folder: Path, name: str, layout: Path, digest: Digest, prepared: Path) -> dict[str, float]:
    """One push to a registry that has nothing; for us also the copy to another namespace of it."""
    shutil.rmtree(folder, ignore_errors=True)
    with docker_registry(folder) as url:
        subprocess.run(["sync"], check=True)
        cost = vars(measured(command(name, url, layout, digest, prepared))).copy()
        if name == "homeport":
            again = homeport("model", "push", f"{NAME}:1.0.0", "--from", url, "--to", f"{url}/prod")
            cost["mounted_s"] = measured(again).seconds
    return cost


def prepare(folder: Path, layout: Path, digest: Digest) -> Path:
    """The same as a folder that skopeo pushes from."""
    with docker_registry(folder / "first") as url:
        copy(open_source(f"oci:{layout}"), open_source(url), NAME, digest, "1.0.0")
        image = f"docker://{url.removeprefix('http://')}/{NAME}:1.0.0"
        subprocess.run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", image, f"dir:{folder / 'prepared'}"], check=True
        )
    shutil.rmtree(folder / "first")
    return folder / "prepared"


def main() -> None:
    if not has("docker-registry", "skopeo"):
        report("registry_push", {}, {}, Noise(), ran=False)
        return
    trials, folder = Trials("registry_push"), work_folder("registry-push")
    try:
        layout, digest = large_model(folder, SIZE)
        prepared = prepare(folder, layout, digest)
        with trials.noise():
            for number in range(ROUNDS):
                for name in ("homeport", *PEERS):
                    if trials.done(name) <= number:
                        trials.keep(name, pushed(folder / "registry", name, layout, digest, prepared))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    trials.report(figures(trials.kept), {"ratio_skopeo": 1.2, "ratio_oras": 1.3, "mounted_s": 0.5, "rss_mb": 48})


def figures(kept: Callable[[str], list[dict[str, float]]]) -> dict[str, object]:
    def middle(name: str, part: str) -> float:
        return statistics.median(each[part] for each in kept(name))

    ours = middle("homeport", "seconds")
    return {
        **{f"ratio_{peer}": round(middle(peer, "seconds") / ours, 2) for peer in PEERS},
        "seconds": round(ours, 2),
        "mounted_s": round(middle("homeport", "mounted_s"), 2),
        "cpu_s": round(middle("homeport", "cpu_s"), 2),
        "rss_mb": round(middle("homeport", "rss_mb"), 1),
    }


if __name__ == "__main__":
    main()
