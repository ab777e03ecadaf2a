"""A supervisor that hangs ends, also when one thread holds the interpreter, and says where every thread stood."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.fakes.unread import Unread

TOP = Path(__file__).parents[3]
WATCHED = """
import ctypes, sys, time
from stack.supervisor.hang import Watchdog

watchdog = Watchdog(0.3)
for count in range(10):
    watchdog.look(count)
    time.sleep(0.1)
print("it ticked for a second", flush=True)
"""
HUNG = "def the_thread_that_hangs():\n    ctypes.PyDLL(None).sleep(60)\nthe_thread_that_hangs()\n"
SILENT = "while True:\n    watchdog.look(9)\n    time.sleep(0.05)\n"


def watched(end: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", WATCHED + end]
    return subprocess.run(argv, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)


def test_a_thread_that_holds_the_interpreter_ends_the_process_and_is_named() -> None:
    done = watched(HUNG)
    assert done.returncode == 1 and done.stdout == "it ticked for a second\n"
    assert "Timeout" in done.stderr and "in the_thread_that_hangs" in done.stderr


def test_ticks_that_do_not_come_any_more_end_the_process() -> None:
    assert watched(SILENT).returncode == 1


def test_who_stopped_looking_is_left_in_peace() -> None:
    done = watched("watchdog.end()\ntime.sleep(1.0)\n")
    assert done.returncode == 0, done.stderr


def test_a_hung_process_ends_although_nobody_reads_what_it_writes() -> None:
    for end in (HUNG, SILENT):
        with Unread() as log:
            argv = [sys.executable, "-c", WATCHED + end]
            done = subprocess.run(argv, cwd=TOP, stdout=subprocess.DEVNULL, stderr=log.writer, timeout=30)
        assert done.returncode == -signal.SIGALRM


def test_who_started_it_cannot_take_the_kernels_alarm_away() -> None:
    with Unread() as log:
        ignored = "import os, signal, sys\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
        ignored += "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
        argv = [sys.executable, "-c", ignored + "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"]
        done = subprocess.run(
            [*argv, WATCHED + SILENT], cwd=TOP, stdout=subprocess.DEVNULL, stderr=log.writer, timeout=30
        )
    assert done.returncode == -signal.SIGALRM
