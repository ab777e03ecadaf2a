"""What this process may use of the machine, and a way to use it without being in anybody's way."""

from __future__ import annotations

import ctypes
import math
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")
_DRIVERS = (Path("/sys/module/nvidia/version"), Path("/etc/nv_tegra_release"))
_CPU_INFO = Path("/proc/cpuinfo")
_PR_SET_PDEATHSIG = 1


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """The folder of this process's control group and those of its parents; version 2 of the interface."""
    lines = own.read_text(encoding="utf-8").splitlines() if own.exists() else []
    name = next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    folder = root / name
    yield from (path for path in (folder, *folder.parents) if path == root or root in path.parents)


def available_cores(root: Path = _GROUPS, own: Path = _OWN_GROUP) -> int:
    """Whole cores this process may use: the smallest of its affinity and the quotas of its control groups."""
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _groups(root, own):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            cores = min(cores, float(quota) / float(period))
    return max(1, math.floor(cores))


def free_memory_bytes(root: Path = _GROUPS, own: Path = _OWN_GROUP, memory: Path = _MEMORY) -> int:
    """Bytes that can still be taken: what the kernel calls available, or what the control groups leave when that is
    less.
    """
    lines = (line.split() for line in memory.read_text(encoding="utf-8").splitlines())
    free = next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    for folder in _groups(root, own):
        with suppress(OSError, ValueError):
            limit = int((folder / "memory.max").read_text())
            free = min(free, max(0, limit - int((folder / "memory.current").read_text())))
    return free


def saturates(cpu_info: Path = _CPU_INFO) -> bool:
    """Whether this processor adds two products of eight bits up in sixteen, which may be too few.

    x86 without VNNI does: of two activations of 255 and weights of 127 only half of the sum is left. Weights of seven
    bits leave room for it (ONNX Runtime, "Quantize ONNX models", the part about AVX2).
    """
    lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return "sse2" in flags and not any("vnni" in flag for flag in flags)


def driver_release(paths: tuple[Path, ...] = _DRIVERS) -> str:
    """The version of the GPU's driver, or what a Jetson calls its release; empty when there is neither."""
    for path in paths:
        with suppress(OSError):
            return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    return ""


def step_back() -> None:
    """Take the lowest priority of ordinary processes, and be the first that the kernel ends when memory is short."""
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent`, which started it, is gone, however it went."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
