"""What is read of the machine, from files that a test writes and modules that it stands in for."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.monitor.resources import Resources, ResourceSample


def write(root: Path, name: str, text: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.fixture
def module() -> Iterator[Any]:
    """Puts modules in place for one test."""
    added: list[str] = []

    def add(name: str, **contents: object) -> None:
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
        added.append(name)

    yield add
    for name in added:
        del sys.modules[name]


def test_a_machine_that_says_nothing_gives_no_data(tmp_path: Path) -> None:
    sample = Resources(tmp_path).sample()
    assert (sample.pressure_percent, sample.temperature_c, sample.throttled) == (None, None, None)
    assert sample.cpu_percent is not None and sample.memory_percent is not None
    assert set(ResourceSample().load) == set(sample.load)


def test_memory_is_that_of_the_control_group_when_it_is_tighter(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/homeport-slot@a.service")
    group = "sys/fs/cgroup/system.slice/homeport-slot@a.service"
    write(tmp_path, f"{group}/memory.max", 1000)
    write(tmp_path, f"{group}/memory.current", 999)
    write(tmp_path, f"{group}/memory.stat", "anon 900\ninactive_file 9")
    assert Resources(tmp_path).sample().memory_percent == pytest.approx(99.0)
    write(tmp_path, f"{group}/memory.max", "max")
    assert Resources(tmp_path).sample().memory_percent != pytest.approx(99.0)


def test_pressure_is_the_worse_of_cpu_and_memory(tmp_path: Path) -> None:
    write(tmp_path, "proc/pressure/cpu", "some avg10=12.50 avg60=3.00 avg300=1.00 total=5")
    write(tmp_path, "sys/fs/cgroup/memory.pressure", "some avg10=48.00 avg60=3.00 avg300=1.00 total=5")
    assert Resources(tmp_path).sample().pressure_percent == 48.0


def test_temperature_is_the_hottest_sensor(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", 51_000)
    write(tmp_path, "sys/class/hwmon/hwmon1/temp1_input", 67_500)
    write(tmp_path, "sys/class/hwmon/hwmon1/temp2_input", "n/a")
    assert Resources(tmp_path).sample().temperature_c == 67.5


@pytest.mark.parametrize(
    "counter",
    ["sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "sys/class/hwmon/hwmon3/oc1_event_cnt"],
)
def test_throttling_is_a_counter_that_rose(tmp_path: Path, counter: str) -> None:
    write(tmp_path, counter, 7)
    resources = Resources(tmp_path)
    seen = [resources.sample().throttled, resources.sample().throttled]
    write(tmp_path, counter, 8)
    assert [*seen, resources.sample().throttled, resources.sample().throttled] == [0.0, 0.0, 1.0, 0.0]


class GpuError(Exception):
    pass


def fail(*arguments: object) -> None:
    raise GpuError


def nvml(module: Any, memory: Callable[..., object], reasons: Callable[..., object]) -> None:
    """A GPU of 66 degrees, with these answers about its memory and its clocks."""
    module(
        "pynvml",
        NVMLError=GpuError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetTemperature=lambda gpu, kind: 66,
        nvmlDeviceGetCurrentClocksThrottleReasons=reasons,
    )


@pytest.mark.parametrize(("reasons", "throttled"), [(0x1, 0.0), (0x4, 0.0), (0x8, 1.0), (0x61, 1.0), (0x80, 1.0)])
def test_a_gpu_is_read_through_nvml_where_it_is(tmp_path: Path, module: Any, reasons: int, throttled: float) -> None:
    """An idle clock (1) and a set power limit (4) are no trouble."""
    memory = types.SimpleNamespace(used=3, total=4)
    nvml(module, lambda gpu: memory, lambda gpu: reasons)
    sample = Resources(tmp_path).sample()
    assert (sample.gpu_memory_percent, sample.gpu_temperature_c, sample.throttled) == (75.0, 66.0, throttled)


def test_what_a_gpu_does_not_tell_is_no_data_and_hides_nothing_else(tmp_path: Path, module: Any) -> None:
    """A GPU that shares the machine's memory has none of its own to tell of."""
    nvml(module, fail, fail)
    sample = Resources(tmp_path).sample()
    assert (sample.gpu_memory_percent, sample.gpu_temperature_c, sample.throttled) == (None, 66.0, None)


def test_a_machine_with_the_library_and_no_gpu_has_no_data(tmp_path: Path, module: Any) -> None:
    module("pynvml", NVMLError=GpuError, nvmlInit=fail)
    assert Resources(tmp_path).sample().gpu_temperature_c is None


@pytest.mark.parametrize(("alive", "degrees"), [(True, 55.5), (False, None)])
def test_a_jetson_is_read_through_jtop_where_it_runs(
    tmp_path: Path, module: Any, alive: bool, degrees: float | None
) -> None:
    jetson = types.SimpleNamespace(
        start=lambda: None, is_alive=lambda: alive, temperature={"gpu": {"temp": 55.5, "online": True}}
    )
    module("jtop", jtop=lambda: jetson, JtopException=GpuError)
    assert Resources(tmp_path).sample().gpu_temperature_c == degrees
