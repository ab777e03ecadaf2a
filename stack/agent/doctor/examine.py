"""`homeport-agent doctor`: is this robot set up as releases need it? One line a check, each with its fix.

Nothing is changed, and no agent is needed.

A check returns what is well, raises `Doubt` for what works and should not stay so, and any other HomeportError for what
is wrong. `text; fix` is the form of all our errors, so a check may simply call what refuses a deploy for the same
reason.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from model_registry.core import lines
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.machine.child import ask
from stack.agent.machine.clock import Clock
from stack.agent.settings.config import Config

VERDICTS = ("ok", "warn", "fail")
DOCKER_S = 3.0
"""How long Docker may take for an answer."""
_STATUS_S = 10.0
T = TypeVar("T")


class Doubt(HomeportError):
    """It works, and somebody should know."""


@dataclass(frozen=True, slots=True)
class DoctorLine:
    """One line: a verdict of VERDICTS, what was found, and what fixes it."""

    check: str
    verdict: str
    text: str
    fix: str | None = None

    @classmethod
    def of(cls, check: str, error: Exception) -> DoctorLine:
        text, _, fix = str(error).rpartition("; ")
        return cls(check, "warn" if isinstance(error, Doubt) else "fail", text or fix, fix if text else None)

    def __str__(self) -> str:
        return f"{self.verdict:4}  {self.check:10}  {self.text}{f'; {self.fix}' if self.fix else ''}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of those who may hang."""

    docker: Future[Reader | None]
    supervisor: Future[Reader]
    agent: Future[Reader]


class Patient:
    """What several checks look at. Each attribute raises HomeportError when its source cannot be read.

    Docker, supervisor and agent are asked once, and all at the same time, so that one that hangs is waited for once.
    """

    clock = Clock()
    free: Callable[[Path], int] = staticmethod(lambda folder: shutil.disk_usage(folder).free)

    def __init__(self, layout: Layout, proc: Path = Path("/proc")) -> None:
        self.layout = layout
        self.proc = proc

    @cached_property
    def robot(self) -> Robot:
        return Robot.load(self.layout.robot_toml)

    @cached_property
    def config(self) -> Config:
        return Config.load(self.layout.agent_toml)

    @cached_property
    def _asked(self) -> Asked:
        return Asked(ask_beside(self._ask_docker), ask_beside(self._ask_supervisor), ask_beside(self._ask_agent))

    @property
    def docker(self) -> Reader | None:
        """What Docker says of itself; None for the process runtime."""
        return self._asked.docker.result()

    @property
    def supervisor(self) -> Reader:
        """Its status (schema control, status)."""
        return self._asked.supervisor.result()

    @property
    def agent(self) -> Reader:
        """Its status (schema agent, status)."""
        return self._asked.agent.result()

    def _ask_docker(self) -> Reader | None:
        if self.config.runtime != "docker":
            return None
        data = ask("docker", "info", "--format", "{{json .}}", timeout_s=DOCKER_S).encode()
        return Reader(parse(data, "docker info"), "docker info")

    def _ask_supervisor(self) -> Reader:
        return Reader(lines.call(self.layout.control_socket, lines.request("status"), _STATUS_S), "supervisor")

    def _ask_agent(self) -> Reader:
        return Reader(lines.call(self.layout.agent_socket, lines.request("status"), _STATUS_S), "agent")


def ask_beside(read: Callable[[], T]) -> Future[T]:
    """Read something in a thread of its own, which nobody has to wait for.

    Its error is kept for whoever wants the result.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(read())
        except (HomeportError, OSError) as error:
            future.set_exception(error)
        finally:
            future.cancel()  # a fault of ours, whose traceback the thread prints: nobody waits for it

    threading.Thread(target=run, name="ask", daemon=True).start()
    return future


Check = Callable[[Patient], str]


def examine(patient: Patient, checks: Mapping[str, Check]) -> list[DoctorLine]:
    """Every check in order. What one line has told already is not told again as the failure of another."""
    findings: list[DoctorLine] = []
    told: dict[str, str] = {}
    for name, check in checks.items():
        try:
            findings.append(DoctorLine(name, "ok", check(patient)))
        except (HomeportError, OSError) as error:
            first = told.setdefault(str(error), name)
            found = DoctorLine.of(name, error)
            findings.append(found if first == name else DoctorLine(name, "warn", f"not known, see {first}"))
    return findings


def document(findings: list[DoctorLine]) -> dict[str, object]:
    """Schema agent, doctor; its verdict is that of the worst line."""
    worst = max((finding.verdict for finding in findings), key=VERDICTS.index)
    return {"schema": 1, "verdict": worst, "checks": [asdict(finding) for finding in findings]}
