"""Keeps every core busy while something is measured, at the lowest priority there is.

Caches and memory are contended as by anything else that runs on a robot, and whatever drives on this machine loses
nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stack.engine.machine import available_cores

_PROGRAM = """
import os, sys
os.nice(19)
try:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
except OSError:
    pass
print(flush=True)
source, target = (memoryview(bytearray(1 << 20)) for _ in range(2))
while os.getppid() == int(sys.argv[1]):
    target[:] = source  # in user mode, where a waking thread takes the core at once
"""


@contextmanager
def every_core_busy() -> Iterator[None]:
    """One process a core, from the time they all run until the end of the block."""
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid())]
    hogs = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(available_cores())]
    try:
        for hog in hogs:
            assert hog.stdout is not None
            hog.stdout.readline()
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()
