"""A Docker engine for tests and the bench: the one that answers, or, as root where none does, a `dockerd` of our own.

    engine = find_engine()
    engine.client.containers.list()
    engine.close()          # stops dockerd only if this call started it, and nobody else uses it by now

An engine that was running is never touched, nor is a container without a label of ours. `adopt` takes over one that an
earlier process of ours has started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import DockerException

from model_registry.inspecting import SOCKET, listens
from tests.fakes.ros import wait_until

CLIENT_TIMEOUT_S = 180
OURS = "dev.homeport."
"""What the labels of our containers and images begin with."""
# Log and pid of an engine that we started; there is one at a time, since it takes the usual socket.
FOLDER = Path(tempfile.gettempdir()) / "homeport-dockerd"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
QEMU_ARM64 = Path("/usr/bin/qemu-aarch64-static")
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


class EngineError(Exception):
    """No Docker engine can be used here; the message says why, and what to do."""


@dataclass(frozen=True)
class Daemon:
    """A `dockerd` that we started. Its start time tells it from a later process with the same number."""

    pid: int
    ticks: int
    child: subprocess.Popen[bytes] | None = field(default=None, compare=False, repr=False)
    """Where this process has started it: kept until it ended."""

    @property
    def alive(self) -> bool:
        return start_ticks(self.pid) == self.ticks

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when it has not ended in 20 s."""
        for number, deadline_s in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)):
            if not self.alive:
                break
            os.kill(self.pid, number)
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not self.alive, deadline_s, "dockerd to end")
        if self.child is not None:
            self.child.wait(5.0)


@dataclass(frozen=True)
class Engine:
    """A connection; `daemon` is set when it is ours to stop."""

    client: docker.DockerClient
    daemon: Daemon | None

    def close(self) -> list[str]:
        """Disconnect, and stop the engine if it is ours, our containers first.

        An engine that others use by now goes on, and their containers are returned.
        """
        foreign: list[str] = []
        if self.daemon is not None and self.daemon.alive:
            running = self.client.containers.list()
            foreign = [str(each.name) for each in running if not is_ours(each.labels)]
            for container in [each for each in running if is_ours(each.labels)]:
                with contextlib.suppress(DockerException):
                    container.stop(timeout=5)
            if not foreign:
                self.daemon.stop()
                shutil.rmtree(FOLDER, ignore_errors=True)
        self.client.close()
        return foreign


def is_ours(labels: Mapping[str, str]) -> bool:
    """Whether a container was made by a bench or a test of this project."""
    return any(name.startswith(OURS) for name in labels)


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot.

    0 when there is none, or it has ended and only waits for its parent.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def answering(environment: Mapping[str, str]) -> docker.DockerClient | None:
    """A client of the engine at DOCKER_HOST or the usual socket, if it answers."""
    if not listens(environment.get("DOCKER_HOST") or SOCKET):
        return None
    try:
        if environment.get("DOCKER_HOST"):
            client = docker.from_env(timeout=CLIENT_TIMEOUT_S, environment=dict(environment))
        else:
            client = docker.DockerClient(base_url=SOCKET, timeout=CLIENT_TIMEOUT_S)
        client.ping()
    except DockerException:
        return None
    return client


def find_engine(
    environment: Mapping[str, str] = os.environ, say: Callable[[str], object] = lambda text: None
) -> Engine:
    """Connect to an engine, or start one, and `say` that first. Raises EngineError with the reason."""
    if (client := answering(environment)) is not None:
        return Engine(client, None)
    if host := environment.get("DOCKER_HOST"):
        raise EngineError(f"DOCKER_HOST={host} does not answer; start that engine, or unset DOCKER_HOST")
    if os.geteuid() != 0:
        raise EngineError("no Docker engine answers, and only root can start one; start it, or run this as root")
    if shutil.which("dockerd") is None:
        raise EngineError("no Docker engine answers and dockerd is not installed; run requirements/bench.sh as root")
    say(
        f"No Docker engine answers, so one is started here: dockerd at {SOCKET}, log in {FOLDER}. It is stopped in "
        "the end"
    )
    return _start(environment)


def adopt(pid: int, ticks: int) -> Engine | None:
    """The engine that an earlier process of ours started, to be stopped by us; None when it is gone."""
    daemon, client = Daemon(pid, ticks), answering({})
    return Engine(client, daemon) if daemon.alive and client is not None else None


def _start(environment: Mapping[str, str]) -> Engine:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700)
    log = FOLDER / "dockerd.log"
    with log.open("ab") as file:
        argv = ["dockerd", "--host", SOCKET, "--pidfile", str(FOLDER / "dockerd.pid")]
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    daemon = Daemon(child.pid, start_ticks(child.pid), child)
    try:
        found = wait_until(lambda: answering(environment) or not daemon.alive, 60.0, "dockerd to answer")
    except AssertionError:
        found = True
    if not isinstance(found, docker.DockerClient):
        daemon.stop()
        tail = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
        raise EngineError(f"dockerd could not be started; its log is {log} and ends with: {tail}")
    return Engine(found, daemon)


def enable_arm64() -> str | None:
    """Let this kernel run arm64 programs through qemu, also in containers. Returns why that cannot be, or None."""
    entry = BINFMT / "qemu-aarch64"
    if entry.exists() and "enabled" in entry.read_text():
        return None
    if not QEMU_ARM64.exists():
        return "qemu-user-static is not installed; run requirements/bench.sh as root"
    if os.geteuid() != 0:
        return "only root can register qemu for arm64 programs"
    if not (BINFMT / "register").exists():
        argv = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
        if done.returncode:
            return f"binfmt_misc cannot be mounted here: {done.stderr.strip()}"
    try:
        if not entry.exists():
            # F: the kernel opens qemu now, so that it is found in containers as well.
            (BINFMT / "register").write_text(f":qemu-aarch64:M::{_MAGIC}:{_MASK}:{QEMU_ARM64}:OCF")
        entry.write_text("1")
    except OSError as error:
        return f"qemu for arm64 cannot be registered in {BINFMT}: {error.strerror}"
    return None
