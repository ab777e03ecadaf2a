"""One robot as the agent sees it: paths, settings, disk, runtime, supervisor and work, in one place that tests can
build.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.disk.journal import Journal
from stack.agent.disk.lease import SERVING_S, Lease, own_folder
from stack.agent.disk.store import Store
from stack.agent.machine.processes import this_process
from stack.agent.machine.room import ReservedFiles
from stack.agent.runtime import Runtime
from stack.agent.runtime.docker import DockerRuntime
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.settings.config import Config
from stack.agent.supervisor import SupervisorClient
from stack.agent.work import Work

Progress = Callable[[str, str], None]
"""Hears the stage of a change and a sentence about it."""


@dataclass(slots=True)
class Host:
    """What every part of the agent is given. `serving` is the lease of the one agent that may write here."""

    layout: Layout
    config: Config
    store: Store
    journal: Journal
    runtime: Runtime
    supervisor: SupervisorClient
    work: Work
    serving: Lease
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the agent is to end."""

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
            supervisor=SupervisorClient(layout.control_socket, layout.operator_socket),
            work=Work(Lease(layout.claim, me)),
            serving=serving,
        )

    def robot(self) -> Robot:
        return Robot.load(self.layout.robot_toml)
