"""One robot as the agent sees it: paths, settings, memory, runtime and supervisor in one place that tests can build."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model_registry.core.files import Files
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.claim import Claim
from stack.agent.config import Config
from stack.agent.journal import Journal
from stack.agent.runtime import Runtime
from stack.agent.runtime.process import ProcessRuntime
from stack.agent.store import Store
from stack.agent.supervisor import Supervisor

if TYPE_CHECKING:
    from stack.agent.deployment import Deployment
    from stack.agent.trial import Trial

Progress = Callable[[str, str], None]


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
    keeping: str | None = None
    """What keeps the current release from running, as the keeper last saw it."""

    @classmethod
    def open(cls, layout: Layout, files: Files | None = None) -> Host:
        """Read the settings and the journal. Raises NotFoundError or UsageError when the robot is not set up."""
        files = files or Files()
        config = Config.load(layout.agent_toml)
        Robot.load(layout.robot_toml)
        store = Store(layout, files)
        store.prepare()
        return cls(
            layout=layout,
            config=config,
            store=store,
            journal=Journal(layout.journal, files),
            runtime=ProcessRuntime(layout, config, files),
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
            if self.trial is None:
                self.active = None
                self.claim.drop()
