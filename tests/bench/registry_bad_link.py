"""Pulls of 240 MiB over a link of 40 MB/s that breaks, goes away, or whose puller is killed: bytes and what came.

The same pull over the same link without its faults stands beside them.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError
from model_registry.packing import copy
from model_registry.sources import open_source
from model_registry.store import check_model
from tests.bench.harness import FULL, ROOT, Noise, Trials, report
from tests.fakes.model import NAME
from tests.testbed.registries import WeakLink, docker_registry
from tests.testbed.transfers import MIB, has, homeport, large_model, work_folder

SIZE = 240 * MIB
AWAY_S = (2.0, 5.0, 20.0, 120.0) if FULL else (2.0, 5.0, 20.0)
MOST_KILLS = 60


def puller(link: WeakLink, digest: Digest, out: Path) -> list[str]:
    return homeport("model", "pull", f"{NAME}@{digest}", "--source", link.url, "--to", str(out))


def whole(out: Path, digest: Digest) -> bool:
    """Whether what lies under the model's name is the model; nothing there is no harm either."""
    folder = out / digest.hex
    try:
        return not folder.exists() or bool(check_model(folder, digest))
    except HomeportError:
        return False


def killed(link: WeakLink, digest: Digest, out: Path) -> dict[str, object]:
    kills, rng = 0, random.Random(15)
    while True:
        process = subprocess.Popen(
            puller(link, digest, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            code = process.wait(rng.uniform(0.9, 1.6) if kills < MOST_KILLS else 600.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            if not whole(out, digest):
                return {"arrived": False, "corrupt": 1, "kills": kills, "sent": link.sent}
            continue
        return {"arrived": code == 0, "corrupt": int(not whole(out, digest)), "kills": kills, "sent": link.sent}


def once(link: WeakLink, digest: Digest, out: Path) -> dict[str, object]:
    began_s = time.monotonic()
    done = subprocess.run(puller(link, digest, out), cwd=ROOT, capture_output=True)
    seconds = round(time.monotonic() - began_s, 1)
    return {
        "arrived": done.returncode == 0, "corrupt": int(not whole(out, digest)), "seconds": seconds, "sent": link.sent,
    }  # fmt: skip


def through(
    url: str, out: Path, act: Callable[[WeakLink, Digest, Path], dict[str, object]], digest: Digest, **weak: float
) -> dict[str, object]:
    shutil.rmtree(out, ignore_errors=True)
    link = WeakLink(url, **weak)  # type: ignore[arg-type]
    try:
        return act(link, digest, out)
    finally:
        link.close()


def main() -> None:
    if not has("docker-registry"):
        report("registry_bad_link", {}, {}, Noise(), ran=False)
        return
    trials, folder = Trials("registry_bad_link"), work_folder("registry-bad-link")
    out = folder / "out"
    try:
        layout, digest = large_model(folder, SIZE)
        with docker_registry(folder / "registry") as url, trials.noise():
            copy(open_source(f"oci:{layout}"), open_source(url), NAME, digest, "1.0.0")
            trials.run("clean", 1, lambda number: through(url, out, once, digest))
            trials.run("kills", 1, lambda number: through(url, out, killed, digest))
            trials.run("breaks", 1, lambda number: through(url, out, once, digest, every=8 * MIB))
            trials.run(
                "away",
                len(AWAY_S),
                lambda number: through(url, out, once, digest, away_at=SIZE // 3, away_s=AWAY_S[number]),
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    clean, kills, breaks = (trials.kept(part)[0] for part in ("clean", "kills", "breaks"))
    away = trials.kept("away")
    figures: dict[str, object] = {
        "kill_run_ratio": round(kills["sent"] / clean["sent"], 3) if kills["arrived"] else None,
        "kills": kills["kills"],
        "break_ratio": round(breaks["sent"] / clean["sent"], 3) if breaks["arrived"] else None,
        "away_s_survived": [seconds for seconds, each in zip(AWAY_S, away, strict=True) if each["arrived"]],
        "corrupt": sum(each["corrupt"] for each in (clean, kills, breaks, *away)),
    }
    trials.report(figures, {"kill_run_ratio": 1.05, "break_ratio": 1.02, "away_s_survived": list(AWAY_S), "corrupt": 0})


if __name__ == "__main__":
    main()
