"""The image of row `cpu`: its size, what a change of code costs to build and to pull, health check, stop, and
reproducible layers.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docker

from images import build
from images.plan import Target
from tests.bench.harness import noise, report
from tests.fakes.ros import wait_until
from tests.testbed import stack_image
from tests.testbed.engine import find_engine

MB = 1_000_000
CHECKS = 50
CHECK = f"i=0; while [ $i -lt {CHECKS} ]; do /usr/local/bin/healthcheck || exit 1; i=$((i+1)); done; times"


def seconds(what: Callable[[], object]) -> float:
    before = time.monotonic()
    what()
    return round(time.monotonic() - before, 2)


def last_layer_bytes(client: docker.DockerClient, tag: str) -> int:
    """What a device pulls of the last layer: compressed as registries keep it."""
    saved = io.BytesIO(b"".join(client.images.get(tag).save()))
    with tarfile.open(fileobj=saved) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        return len(zlib.compress(archive.extractfile(manifest[0]["Layers"][-1]).read(), 6))


def changed(target: Target, folder: Path) -> Target:
    """The same with one more module in the application, in a context of its own with other dates."""
    shutil.copytree(target.context, folder, copy_function=shutil.copyfile)
    with zipfile.ZipFile(next((folder / "application").glob("*.whl")), "a") as wheel:
        wheel.writestr("stack/changed.py", f"NOW = {time.time()}\n")
    return replace(target, context=str(folder), tags=("homeport/stack:bench-changed",))


def healthcheck_cpu_ms(client: docker.DockerClient, folder: Path) -> float:
    """User and system time of one check, from the shell's own account of its children."""
    (folder / "status.json").write_text('{"state":"ready"}')
    mounts = stack_image.shared(folder, str(Path(stack_image.STATUS).parent), "ro")
    more = {"volumes": mounts, "environment": {"HOMEPORT_SLOT": "a"}, "entrypoint": ["sh", "-c"]}
    spent = stack_image.run(client, stack_image.built(), [CHECK], **more).split()[-2:]
    parts = [word.rstrip("s").split("m") for word in spent]
    return round(sum(int(minutes) * 60 + float(rest) for minutes, rest in parts) / CHECKS * 1000, 2)


def stop_s(client: docker.DockerClient) -> float:
    """`docker stop` of a program that has ROS 2 running."""
    container = client.containers.run(
        stack_image.built(), ["stack.sim", "--seed", "1"], detach=True, **stack_image.CONFINED
    )
    try:
        wait_until(lambda: container.exec_run(["test", "-d", "/tmp/ros"]).exit_code == 0, 30.0, "ROS 2 to start")
        return seconds(lambda: container.stop(timeout=10))
    finally:
        container.remove(force=True)


def identical(client: docker.DockerClient, target: Target, folder: Path) -> list[bool]:
    """Layer by layer, whether two clean builds agree: other folder, other dates, no cache."""
    shutil.copytree(target.context, folder, copy_function=shutil.copyfile)
    pair = [replace(target, tags=("homeport/stack:bench-1",)), replace(target, tags=("homeport/stack:bench-2",))]
    pair[1] = replace(pair[1], context=str(folder))
    layers = [client.images.get(build.build(each, no_cache=True)).attrs["RootFS"]["Layers"] for each in pair]
    for each in pair:
        client.images.remove(each.tags[0], force=True)
    return [one == other for one, other in zip(*layers, strict=True)]


def main() -> None:
    engine = find_engine()
    client = engine.client
    with noise() as quiet, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack_image.built()
        noop = seconds(stack_image.built)
        target = stack_image.plan("amd64")
        code = changed(target, folder / "changed")
        rebuild = seconds(lambda: build.build(code)) + seconds(lambda: stack_image.plan("amd64"))
        (folder / "run").mkdir()
        image = {
            "size_mb": round(client.images.get(target.tags[0]).attrs["Size"] / MB, 1),
            "code_pull_mb": round(last_layer_bytes(client, code.tags[0]) / MB, 2),
            "rebuild_s": round(rebuild, 2),
            "noop_s": noop,
            "healthcheck_cpu_ms": healthcheck_cpu_ms(client, folder / "run"),
            "stop_s": stop_s(client),
        }
        same = identical(client, target, folder / "other")
        client.images.remove(code.tags[0], force=True)
    figures = {"image": image, "reproducible": {"layers": len(same), "identical": sum(same)}}
    baselines = {"image": {"size_mb": 700, "code_pull_mb": 10, "rebuild_s": 20, "noop_s": 3, "healthcheck_cpu_ms": 20}}
    report("image", figures, baselines, quiet)
    engine.close()


if __name__ == "__main__":
    main()
