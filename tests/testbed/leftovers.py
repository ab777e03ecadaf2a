"""Ends everything that was started in a folder, also what its starter did not live to end.

A program of a testbed says in its environment which folder it belongs to. A person's editor or shell in that folder
does not.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

MARK = "HOMEPORT_TESTBED"
_MARKS = (MARK, "PYTHONPATH", "ROS_LOG_DIR")
"""Variables by which a process of a robot shows its folder: a slot has an environment of its own, without our mark."""
TERM_S = 4.0
KILL_S = 3.0
ROUNDS = 3


def started_in(folder: Path) -> list[psutil.Process]:
    """Processes that belong to `folder`, but for this one and those that wait for it."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            environment = {} if process.pid in own else process.environ()
        except psutil.Error:  # it has ended, or is somebody else's
            continue
        if any(str(folder) in environment.get(name, "") for name in _MARKS):
            found.append(process)
    return found


def end_all(folder: Path) -> int:
    """Ask all of them to end, and make those that do not; what they started meanwhile as well.

    Returns how many there were.

    Raises AssertionError naming those that are still there.
    """
    ended = 0
    for _ in range(ROUNDS):
        processes = started_in(folder)
        if not processes:
            return ended
        ended += len(processes)
        for process in processes:
            _tell(process, psutil.Process.terminate)
            _tell(process, psutil.Process.resume)
        _, alive = psutil.wait_procs(processes, TERM_S)
        for process in alive:
            _tell(process, psutil.Process.kill)
        psutil.wait_procs(alive, KILL_S)
    left = started_in(folder)
    assert not left, f"still running: {', '.join(f'process {process.pid}' for process in left)}; end them by hand"
    return ended


def _tell(process: psutil.Process, signal: object) -> None:
    try:
        signal(process)  # type: ignore[operator]
    except psutil.Error:
        return
