"""What a process may use, from the kernel's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.engine.hog import every_core_busy
from stack.engine.machine import available_cores, driver_release, free_memory_bytes, saturates
from tests.fakes.proving import hogs
from tests.fakes.ros import wait_until


def group(tmp_path: Path, **files: str) -> tuple[Path, Path]:
    """A control group two folders below the root, with `files` as `inner__name` or `outer__name`."""
    root, own = tmp_path / "groups", tmp_path / "own"
    (root / "outer" / "inner").mkdir(parents=True)
    own.write_text("0::/outer/inner\n")
    for key, text in files.items():
        where, _, name = key.partition("__")
        folder = root / "outer" / ("inner" if where == "inner" else "")
        (folder / name.replace("_", ".")).write_text(text)
    return root, own


def test_at_least_one_core_is_available() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, len(os.sched_getaffinity(0))),
        ({"inner__cpu_max": "max 100000"}, len(os.sched_getaffinity(0))),
        ({"inner__cpu_max": "150000 100000"}, 1),
        ({"outer__cpu_max": "100000 100000"}, 1),
        ({"inner__cpu_max": "20000 100000"}, 1),
        ({"inner__cpu_max": "nonsense"}, len(os.sched_getaffinity(0))),
    ],
)
def test_the_smallest_quota_on_the_way_up_decides(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert available_cores(*group(tmp_path, **files)) == cores


def test_memory_is_what_the_kernel_or_the_group_leaves(tmp_path: Path) -> None:
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal: 4000 kB\nMemAvailable: 2000 kB\n")
    root, own = group(tmp_path, outer__memory_max="1000000", outer__memory_current="400000", inner__memory_max="max")
    assert free_memory_bytes(root, own, memory) == 600_000
    (root / "outer" / "memory.max").write_text("999999999")
    assert free_memory_bytes(root, own, memory) == 2000 * 1024


def test_a_driver_is_known_by_its_version_and_else_by_the_release_of_the_jetson(tmp_path: Path) -> None:
    driver, jetson = tmp_path / "version", tmp_path / "nv_tegra_release"
    assert driver_release((driver, jetson)) == ""
    jetson.write_text("# R36 (release), REVISION: 4.3, GCID: 1\n# KERNEL_VARIANT: oot\n")
    assert driver_release((driver, jetson)) == "# R36 (release), REVISION: 4.3, GCID: 1"
    driver.write_text("580.65.06\n")
    assert driver_release((driver, jetson)) == "580.65.06"


def test_every_core_is_busy_at_the_lowest_priority_and_only_inside_the_block() -> None:
    with every_core_busy():
        running = hogs()
        assert len(running) == available_cores()
        assert {os.sched_getscheduler(pid) for pid in running} == {os.SCHED_IDLE}
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in running} == {19}
    assert not hogs()


def test_a_hog_ends_with_the_program_that_started_it() -> None:
    program = (
        "import os; from stack.engine.hog import every_core_busy as b; from tests.fakes.proving import hogs\n"
        "with b():\n    print(*hogs(), flush=True)\n    os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=True, capture_output=True, text=True)
    left = [Path(f"/proc/{pid}") for pid in done.stdout.split()]
    assert len(left) == available_cores()
    wait_until(lambda: not any(path.exists() for path in left), 10.0, "the hogs to be gone")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("processor: 0\nflags\t\t: fpu sse sse2 avx avx2 fma\n", True),
        ("processor: 0\nflags\t\t: fpu sse sse2 avx2 avx512f avx512_vnni\n", False),
        ("processor: 0\nflags\t\t: fpu sse2 avx2 avx_vnni\n", False),
        ("processor: 0\nFeatures\t: fp asimd i8mm\n", False),
        ("", False),
    ],
    ids=["avx2", "avx512_vnni", "avx_vnni", "arm", "nothing known"],
)
def test_a_processor_that_saturates_sums_of_bytes_is_known_by_its_flags(tmp_path: Path, text: str, known: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert saturates(tmp_path / "cpuinfo") is known
