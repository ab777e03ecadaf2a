"""One robot as the agent sees it: paths, settings, memory, runtime and supervisor in one place that tests can build."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.core.errors import LockedError
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.config import Config
from stack.agent.journal import Deployment, Journal
from stack.agent.room import ReservedFiles
from stack.agent.runtime import Runtime
from stack.agent.runtime.docker import DockerRuntime
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.store import Store
from stack.agent.supervisor import Supervisor

if TYPE_CHECKING:
    from stack.agent.robot_gate import Permission
    from stack.agent.switch import Trial

Progress = Callable[[str, str], None]


class Claim:
    """One change at a time: a lock file that is held from `take` to `drop`, dies with its holder and names who holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, owner: str, verb: str) -> None:
        """Raises LockedError naming the holder and since when."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise LockedError(f"{verb}: {_describe(holder)}; wait for it, or roll it back") from None
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"owner": owner, "verb": verb, "since": since}).encode(), 0)
        self._descriptor = descriptor

    def drop(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _describe(data: bytes) -> str:
    try:
        holder = json.loads(data)
        return f"{holder['verb']} by {holder['owner']} is running since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another change is running"


@dataclass(slots=True)
class Host:
    """`active` is the deployment that runs now, `trial` the release that waits for its commit."""

    layout: Layout
    config: Config
    store: Store
    journal: Journal
    runtime: Runtime
    supervisor: Supervisor
    claim: Claim
    stopping: threading.Event = field(default_factory=threading.Event)
    abort: threading.Event = field(default_factory=threading.Event)
    """Set by a rollback while a switch is under way."""
    busy: threading.RLock = field(default_factory=threading.RLock)
    active: Deployment | None = None
    trial: Trial | None = None
    wait: Permission | None = None
    """What is asked for while a change waits for the robot."""
    keeping: str | None = None
    """What keeps the current release from running, as the keeper last saw it."""

    @classmethod
    def open(cls, layout: Layout) -> Host:
        """Read the settings and the journal. Raises NotFoundError or UsageError when the robot is not set up."""
        files = ReservedFiles(layout.reserve)
        config = Config.load(layout.agent_toml)
        Robot.load(layout.robot_toml)
        docker = config.runtime == "docker"
        runtime: Runtime = DockerRuntime(layout, config, files) if docker else ProcessRuntime(layout, config, files)
        store = Store(layout, files, runtime)
        store.prepare()
        return cls(
            layout=layout,
            config=config,
            store=store,
            journal=Journal(layout.journal, files),
            runtime=runtime,
            supervisor=Supervisor(layout.control_socket, layout.operator_socket),
            claim=Claim(layout.claim),
        )

    def robot(self) -> Robot:
        return Robot.load(self.layout.robot_toml)

    @contextmanager
    def claimed(self, owner: str, verb: str) -> Iterator[None]:
        """Hold the one change at a time; kept when a trial is left waiting for its commit. Raises LockedError."""
        self.claim.take(owner, verb)
        try:
            with self.busy:
                yield
        finally:
            self.wait = None
            if self.trial is None:
                self.active = None
                self.claim.drop()
