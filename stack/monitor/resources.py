"""How loaded and how hot the machine is, from what it has: psutil, cgroups, pressure stall, sysfs, NVML, jtop.

One `Resources` a process: several readers of a counter would each see a part of it. Nothing here waits, and "no data"
is a value (None).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import psutil

_SLOWED = 0x08 | 0x20 | 0x40 | 0x80  # of NVML's reasons for low clocks: those by heat or by the power supply


@dataclass(frozen=True)
class ResourceSample:
    """Percent, degrees Celsius, and 1.0 or 0.0 for throttled; None is no data.

    `memory_percent` is the tighter one of machine and cgroup, `pressure_percent` the part of the last 10 s in which
    something waited for a core or for memory.
    """

    cpu_percent: float | None = None
    memory_percent: float | None = None
    pressure_percent: float | None = None
    temperature_c: float | None = None
    throttled: float | None = None
    gpu_memory_percent: float | None = None
    gpu_temperature_c: float | None = None

    @property
    def load(self) -> dict[str, float | None]:
        """What says how loaded the machine is, by name."""
        return asdict(self)


class Resources:
    """Reads all of it. `root` is where /proc and /sys are, for tests; `gpus` read a GPU or return nothing."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._throttles: dict[Path, int] = {}
        self._gpu = next((reader for make in (_nvml, _jtop) if (reader := make()) is not None), None)

    def sample(self) -> ResourceSample:
        gpu_memory, gpu_temperature, gpu_slowed = self._gpu() if self._gpu else (None, None, None)
        return ResourceSample(
            cpu_percent=psutil.cpu_percent(None),
            memory_percent=max((psutil.virtual_memory().percent, *self._cgroup_memory())),
            pressure_percent=max(self._pressures(), default=None),
            temperature_c=max(self._temperatures(), default=None),
            throttled=max((each for each in (self._throttled(), gpu_slowed) if each is not None), default=None),
            gpu_memory_percent=gpu_memory,
            gpu_temperature_c=gpu_temperature,
        )

    def _cgroup(self) -> Path:
        """This process's own control group, which is at the root of the tree inside a container."""
        tree = self._root / "sys/fs/cgroup"
        text = _text(self._root / "proc/self/cgroup")
        own = tree / text.rpartition("::")[2].strip().lstrip("/")
        return own if own.is_dir() else tree

    def _cgroup_memory(self) -> Iterable[float]:
        folder = self._cgroup()
        limit = _text(folder / "memory.max")
        used = _text(folder / "memory.current")
        if limit.isdigit() and used.isdigit() and int(limit):
            pages = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
            yield 100.0 * (int(used) - int(pages.get("inactive_file", 0))) / int(limit)

    def _pressures(self) -> Iterable[float]:
        for name in ("cpu", "memory"):
            text = _text(self._cgroup() / f"{name}.pressure") or _text(self._root / "proc/pressure" / name)
            some = text.partition("some avg10=")[2].split()
            if some:
                yield float(some[0])

    def _temperatures(self) -> Iterable[float]:
        for pattern in ("sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input"):
            for path in self._root.glob(pattern):
                text = _text(path)
                if text.lstrip("-").isdigit():
                    yield int(text) / 1000.0

    def _throttled(self) -> float | None:
        """Whether a counter of throttling rose since the last look: Intel's, or the over-current ones of a Jetson."""
        patterns = (
            "sys/devices/system/cpu/cpu0/thermal_throttle/*_throttle_count",
            "sys/class/hwmon/hwmon*/oc*_event_cnt",
        )
        found = {
            path: int(text) for each in patterns for path in self._root.glob(each) if (text := _text(path)).isdigit()
        }
        rose = any(count > self._throttles.get(path, count) for path, count in found.items())
        self._throttles = found
        return float(rose) if found else None


Gpu = Callable[[], tuple[float | None, float | None, float | None]]
"""-> memory in percent, degrees Celsius, 1.0 or 0.0 for throttled."""


def _nvml() -> Gpu | None:
    """The first GPU of a machine with NVIDIA's library.

    What it does not tell, as one that shares the machine's memory, is no data.
    """
    nvml = _module("pynvml")
    if nvml is None:
        return None
    try:
        nvml.nvmlInit()
        gpu = nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError:
        return None

    def known(look: Callable[[], float]) -> float | None:
        try:
            return float(look())
        except nvml.NVMLError:
            return None

    def memory_percent() -> float:
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
        return 100.0 * float(memory.used) / float(memory.total)

    return lambda: (
        known(memory_percent),
        known(lambda: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))),
        known(lambda: bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu) & _SLOWED)),
    )


def _jtop() -> Gpu | None:
    """A Jetson, whose GPU shares the machine's memory: only its temperature is new. Needs jetson_stats' service."""
    module = _module("jtop")
    if module is None:
        return None
    jetson = module.jtop()
    try:
        jetson.start()
    except module.JtopException:
        return None

    def read() -> tuple[float | None, float | None, float | None]:
        heat = jetson.temperature.get("gpu", {}) if jetson.is_alive() else {}
        return None, heat.get("temp") if heat.get("online", True) else None, None

    return read


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
