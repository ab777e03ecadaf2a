"""The threads beside the tick: one step below it where real time is permitted, and kept to a share of a core."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stack.supervisor.priority import BESIDE, TICK, Share

TOP = Path(__file__).parents[3]
PROGRAM = """
import os, threading
from pathlib import Path
from stack.supervisor.priority import become_real_time, step_back

def beside():
    step_back("beside")
    print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)
    print(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip())

print(become_real_time())
thread = threading.Thread(target=beside)
thread.start()
thread.join()
print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)
"""


def told(*prefix: str) -> list[str]:
    done = subprocess.run([*prefix, sys.executable, "-c", PROGRAM], cwd=TOP, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_where_real_time_is_permitted_no_thread_stays_at_an_ordinary_priority():
    found = told()
    if found[0] != "fifo":
        pytest.skip("real-time scheduling is not permitted here")
    assert found[1:] == [f"{os.SCHED_FIFO} {BESIDE}", "beside", f"{os.SCHED_FIFO} {TICK}"]


def test_where_it_is_not_permitted_all_threads_stay_equal():
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a right away")
    ordinary = f"{os.SCHED_OTHER} 0"
    assert told("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice") == [
        "other", ordinary, "beside", ordinary,
    ]  # fmt: skip


def test_a_thread_that_always_has_work_leaves_most_of_a_core_to_others():
    used: list[float] = []

    def work() -> None:
        share, end_s = Share(0.2), time.monotonic() + 1.0
        while time.monotonic() < end_s:
            sum(range(20_000))
            share.rest()
        used.append(time.thread_time())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10.0)
    assert used[0] < 0.4
