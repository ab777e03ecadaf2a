"""Programs that use up the processor and outweigh a robot's.

At the best nice value, or in a group of the kernel with twenty times the weight.

    python -m tests.testbed.busy LOOPS SECONDS NICE [GROUP]

They end with the block that started them, with whoever started them, and after a minute whatever happens: a machine
that they have is hard to get back.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fakes.ros import REPOSITORY, wait_until

WEIGHT = 20
"""Times the weight of the group in which everything else runs."""
LONGEST_S = 60
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
_V1_DEFAULT, _V2_DEFAULT = 1024, 100
_PR_SET_PDEATHSIG = 1


class CannotOutweighError(Exception):
    """This machine does not let us, and why."""


@contextmanager
def nice(loops: int) -> Iterator[None]:
    """Busy loops at nice -20. Raises CannotOutweighError."""
    if os.geteuid() != 0:
        raise CannotOutweighError("nice -20 needs root")
    with _running(loops, -20):
        yield


@contextmanager
def heavy_group(loops: int, times: int = WEIGHT) -> Iterator[None]:
    """Busy loops in a group of the kernel that has so many times the usual weight. Raises CannotOutweighError."""
    with weighted("busy", times) as members, _running(loops, 0, str(members)):
        yield


@contextmanager
def plain(loops: int) -> Iterator[None]:
    """Busy loops as anybody starts them."""
    with _running(loops, 0):
        yield


@contextmanager
def weighted(name: str, times: int) -> Iterator[Path]:
    """A group of the kernel with so many times the usual weight: the file that a pid is written to to join it.

    It must be empty in the end. Raises CannotOutweighError.
    """
    group = _make_group(name, times)
    try:
        yield group / "cgroup.procs"
    finally:
        # The kernel lets a group go when the last of its processes is.
        wait_until(lambda: _removed(group), 5.0, f"{group} to be empty")


@contextmanager
def _running(loops: int, niceness: int, *groups: str) -> Iterator[None]:
    argv = [sys.executable, "-m", "tests.testbed.busy", str(loops), str(LONGEST_S), str(niceness), *groups]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None and program.stdout is not None
        try:
            assert program.stdout.readline() == b"busy\n"
            yield
            assert program.poll() is None, f"the load ended after {LONGEST_S} s; it should have been needed for less"
        finally:
            program.stdin.close()


def _make_group(name: str, times: int) -> Path:
    name = f"homeport-{name}-{os.getpid()}"
    if (_V1 / "cpu.shares").exists():
        group, weight, default = _V1 / name, "cpu.shares", _V1_DEFAULT
    elif "cpu" in _text(_V2 / "cgroup.subtree_control").split():
        group, weight, default = _V2 / name, "cpu.weight", _V2_DEFAULT
    else:
        raise CannotOutweighError("no cpu controller of the kernel's control groups is mounted here")
    try:
        group.mkdir(exist_ok=True)
        (group / weight).write_text(str(times * default))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        raise CannotOutweighError(f"{group}: {error.strerror}") from error
    return group


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def _spin(parent: int, end_s: float) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    while os.getppid() == parent and time.monotonic() < end_s:
        for _ in range(100_000):
            pass


def main(loops: int, seconds: float, niceness: int, *groups: str) -> None:
    """Be busy until standard input ends."""
    end_s, children = time.monotonic() + seconds, []
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # a bench that starts it runs in real time
    for group in groups:
        Path(group).write_text(str(os.getpid()))
    os.nice(niceness)
    for _ in range(loops):
        child = os.fork()
        if not child:
            _spin(os.getppid(), end_s)
            os._exit(0)
        children.append(child)
    print("busy", flush=True)
    select.select([sys.stdin], [], [], seconds)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
