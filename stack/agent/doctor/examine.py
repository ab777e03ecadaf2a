"""`homeport-agent doctor`: is this robot set up as releases need it? One line a check, each with its fix.

Nothing is changed, and no agent is needed.

A check returns what is well, raises `Doubt` for what works and should not stay so, and any other HomeportError for what
is wrong. `text; fix` is the form of all our errors, so a check may simply call what refuses a deploy for the same
reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from model_registry.core import lines
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError
from model_registry.core.layout import Layout
from model_registry.core.robot import Robot
from stack.agent.machine.child import ask
from stack.agent.machine.clock import Clock
from stack.agent.settings.config import Config

VERDICTS = ("ok", "warn", "fail")
_TIMEOUT_S = 10.0


class Doubt(HomeportError):
    """It works, and somebody should know."""


@dataclass(frozen=True, slots=True)
class DoctorLine:
    """One line: a verdict of VERDICTS, what was found, and what mends it."""

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


class Patient:
    """What several checks look at. Each attribute raises HomeportError when its source cannot be read."""

    clock = Clock()
    free: Callable[[Path], int] = staticmethod(lambda folder: shutil.disk_usage(folder).free)

    def __init__(self, layout: Layout, proc: Path = Path("/proc")) -> None:
        self.layout, self.proc = layout, proc

    @cached_property
    def robot(self) -> Robot:
        return Robot.load(self.layout.robot_toml)

    @cached_property
    def config(self) -> Config:
        return Config.load(self.layout.agent_toml)

    @cached_property
    def docker(self) -> Reader | None:
        """What Docker says of itself; None for the process runtime."""
        if self.config.runtime != "docker":
            return None
        data = ask("docker", "info", "--format", "{{json .}}", timeout_s=_TIMEOUT_S).encode()
        return Reader(parse(data, "docker info"), "docker info")

    @cached_property
    def supervisor(self) -> Reader:
        """Its status (schema control, status)."""
        return Reader(lines.call(self.layout.control_socket, lines.request("status"), _TIMEOUT_S), "supervisor")


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
