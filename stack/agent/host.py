"""One robot as the agent sees it: paths, settings, memory, runtime and supervisor in one place that tests can build."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.change.deployment import Deployment
from stack.agent.change.recovery import close_open
from stack.agent.disk.journal import Journal
from stack.agent.disk.lease import SERVING_S, Lease, own_folder
from stack.agent.disk.store import Store
from stack.agent.machine.processes import this_process
from stack.agent.machine.room import ReservedFiles
from stack.agent.runtime import Runtime
from stack.agent.runtime.docker import DockerRuntime
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.settings.config import Config
from stack.agent.supervisor import Supervisor

if TYPE_CHECKING:
    from stack.agent.change.permission import Permission
    from stack.agent.change.switch import Trial

Progress = Callable[[str, str], None]
_CHANGE_S = 14_400.0


@dataclass(slots=True)
class Host:
    """`active` is the deployment that runs now, `trial` the release that waits for its commit."""

    layout: Layout
    config: Config
    store: Store
    journal: Journal
    runtime: Runtime
    supervisor: Supervisor
    claim: Lease
    serving: Lease
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
        """Read the settings and the journal, as the one agent that may write here.

        Raises NotFoundError or UsageError when the robot is not set up, LockedError when another agent serves this
        root.
        """
        config = Config.load(layout.agent_toml)
        Robot.load(layout.robot_toml)
        own_folder(layout.run)
        me = this_process()
        serving = Lease(layout.serving, me)
        serving.take(f"pid {me.pid}", "serve", SERVING_S)
        files = ReservedFiles(layout.reserve, serving.check)
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
            claim=Lease(layout.claim, me),
            serving=serving,
        )

    def robot(self) -> Robot:
        return Robot.load(self.layout.robot_toml)

    @contextmanager
    def claimed(self, owner: str, verb: str, lasts_s: float = _CHANGE_S) -> Iterator[None]:
        """Hold the one change at a time; kept when a trial is left waiting for its commit. Raises LockedError.

        What a change before this one has left open is ended first. All but staging keeps the keeper off the slots.
        """
        self.claim.take(owner, verb, lasts_s, self.journal.fence)
        fence = self.claim.fence
        try:
            self.store.prepare()  # somebody may have deleted them
            with self.busy:
                close_open(self)
                if verb != "stage":
                    yield
            if verb == "stage":
                yield
        finally:
            if self.trial is None and self.claim.fence == fence:
                self.wait = None
                self.active = None
                self.claim.drop()
