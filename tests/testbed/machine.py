"""What the machine of a testbed has, how busy it is and with what.

It is said before anything is started, and asked again when something failed.

machine = Machine.measure(Path("/tmp"))
print(machine.sentence)
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from stack.engine.machine import available_cores, free_memory_bytes

GB = 1e9
CORES, MEMORY_BYTES, DISK_BYTES, MINUTES = 2, 2_000_000_000, 1_000_000_000, 3
"""What three simulated robots need; the minutes are those of an idle machine."""
IDLE = 0.5
"""With a smaller part of the processor free than this, robots are late for their own control loops."""
MEASURED_S = 1.0
_SHOWN = 3


@dataclass(frozen=True)
class Machine:
    """`idle` is the part of the processor that nobody uses (0 to 1), `busiest` the programs that use most of it."""

    cores: int
    idle: float
    memory_bytes: int
    disk_bytes: int
    busiest: tuple[str, ...] = ()

    @classmethod
    def measure(cls, folder: Path) -> Machine:
        """Look for a second. `folder` is where the disk is needed."""
        programs = _programs()
        spent = psutil.cpu_times_percent(MEASURED_S)
        return cls(
            cores=available_cores(),
            idle=round((spent.idle + spent.iowait) / 100.0, 3),
            memory_bytes=free_memory_bytes(),
            disk_bytes=shutil.disk_usage(folder).free,
            busiest=_busiest(programs),
        )

    @property
    def busy(self) -> bool:
        """Whether other programs use so much of it that robots here would be late."""
        return self.idle < IDLE

    @property
    def sentence(self) -> str:
        """What was found and what is needed, in one line."""
        return (
            f"This machine: {self.cores} cores ({self.idle:.0%} idle), {self.memory_bytes / GB:.1f} GB of memory and "
            f"{self.disk_bytes / GB:.1f} GB of disk free. "
            f"The demo needs {CORES} cores, {MEMORY_BYTES / GB:.0f} GB, {DISK_BYTES / GB:.0f} GB and about {MINUTES} "
            "minutes."
        )

    @property
    def lack(self) -> str | None:
        """What it does not have at all, and what to do about it; None where three robots have room."""
        if self.memory_bytes < MEMORY_BYTES:
            free, needed = self.memory_bytes / GB, MEMORY_BYTES / GB
            return f"{free:.1f} GB of memory are free and {needed:.0f} are needed: end other programs"
        if self.disk_bytes < DISK_BYTES:
            free, needed = self.disk_bytes / GB, DISK_BYTES / GB
            remedy = "make room, or set TMPDIR to a folder on another disk"
            return f"{free:.1f} GB of disk are free and {needed:.0f} are needed: {remedy}"
        return None

    @property
    def load(self) -> str:
        """Who uses it, in words."""
        names = f", most of all {', '.join(self.busiest)}" if self.busiest else ""
        return f"other programs use {1.0 - self.idle:.0%} of its {self.cores} cores{names}"


def _programs() -> list[psutil.Process]:
    """Every process, with its share of a core counted from now on."""
    programs = []
    for process in psutil.process_iter():
        try:
            process.cpu_percent()
        except psutil.Error:
            continue
        programs.append(process)
    return programs


def _busiest(programs: list[psutil.Process]) -> tuple[str, ...]:
    """The programs that took most since `_programs`, with their process number."""
    used: list[tuple[float, str]] = []
    for process in programs:
        try:
            percent = process.cpu_percent()
            if percent >= 10.0:
                used.append((percent, f"{process.name()} (process {process.pid})"))
        except psutil.Error:
            continue
    return tuple(name for _, name in sorted(used, reverse=True)[:_SHOWN])
