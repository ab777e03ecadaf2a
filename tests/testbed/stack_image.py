"""The stack's image for tests and benches: built from this checkout, and started as a robot starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
from docker.errors import ContainerError

from images import build, lock, platforms
from images.bake import facts
from images.plan import Target, targets

STATUS = "/run/homeport/slot-a/status.json"
# As little as a slot gets; also no network, which a slot has.
CONFINED: dict[str, Any] = {
    "user": "10001:10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": {"/tmp": ""},
    "network_mode": "none",
}
PYTHON = ["/opt/homeport/bin/python", "-c"]


def plan(arch: str) -> Target:
    """The row `cpu` for one architecture, its context filled."""
    row, locked = platforms.read()["cpu"], lock.load()
    target = targets([row], locked, facts(), arches=[arch])[0]
    build.prepare(target, row, locked.entry("cpu", arch))
    return target


def built(arch: str = "amd64") -> str:
    """The ID of the image of this checkout; a no-op where it is built already."""
    return build.build(plan(arch))


def shared(folder: Path, at: str | None = None, mode: str = "rw") -> list[str]:
    """Mount a folder for a container, by default at its own path.

    Everybody may write: uids inside are not those outside.
    """
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o777 if path.is_dir() else 0o666))
    return [f"{folder}:{at or folder}:{mode}"]


def python(client: docker.DockerClient, image: str, program: str, **more: Any) -> str:
    """Run a program with the image's Python, confined; its stdout. Raises ContainerError with its stderr."""
    return run(client, image, [program], entrypoint=PYTHON, **more)


def run(client: docker.DockerClient, image: str, arguments: list[str], **more: Any) -> str:
    """Run a container to its end, confined; its stdout. Raises ContainerError with its stderr.

    docker-py's own `run` follows the log, and a follower may lose the last lines of a container that ends;
    here the log is read after the end, when Docker has written all of it.
    """
    container = client.containers.run(image, arguments, detach=True, **{**CONFINED, **more})
    try:
        code = container.wait()["StatusCode"]
        if code:
            raise ContainerError(container, code, arguments, image, container.logs(stdout=False, stderr=True))
        return container.logs(stdout=True, stderr=False).decode()
    finally:
        container.remove(force=True)
