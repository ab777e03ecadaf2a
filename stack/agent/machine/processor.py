"""How a process gets the processor: which core it ran on last, its priority, and its group of the kernel.

For people who ask why a slot was silent on a busy robot; nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack.agent.machine.processes import proc_stat

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
# Fields of /proc/PID/stat, from the third on (proc(5)).
_NICE = 16
_CORE = 36
_REAL_TIME = 37


@dataclass(frozen=True, slots=True)
class Processor:
    """Of one process. `real_time` is the highest real-time priority of its threads, 0 for none."""

    core: int
    nice: int
    real_time: int
    group: str
    weight: int | None
    """The group's weight among its neighbours, of which each has 100; None where the kernel tells none."""

    def __str__(self) -> str:
        priority = f"nice {self.nice}" + (f" and real time {self.real_time}" if self.real_time else "")
        weight = f", weight {self.weight}" if self.weight is not None else ""
        return f"core {self.core}, {priority}, cgroup {self.group}{weight}"


def processor(pid: int, proc: Path = PROC, groups: Path = GROUPS) -> Processor | None:
    """What the kernel says of a process now; None when it is gone."""
    fields = proc_stat(pid, proc)
    threads = [proc_stat(int(task.name), task.parent) for task in proc.glob(f"{pid}/task/[0-9]*")]
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    if fields is None:
        return None
    real_time = max((int(each[_REAL_TIME]) for each in threads if each is not None), default=0)
    group, weight = _group(lines, groups)
    return Processor(int(fields[_CORE]), int(fields[_NICE]), real_time, group, weight)


def _group(lines: list[str], groups: Path) -> tuple[str, int | None]:
    """The group that decides over the processor's time, and its weight.

    It is one of version 1 of the kernel's control groups where that has the controller, else of version 2.
    """
    found = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    for controllers, path in found.items():
        if "cpu" in controllers.split(","):
            shares = _number(groups / controllers / path.lstrip("/") / "cpu.shares")
            return path, None if shares is None else round(shares * 100 / 1024)
    path = found.get("", "/")
    return path, _number(groups / path.lstrip("/") / "cpu.weight")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
