"""Who of the supervisor's threads goes first, and how much of the processor the others may take.

The tick thread runs in real time. The others share the interpreter's lock with it, and a thread that holds this lock at
an ordinary priority while other programs use up the processor is not run, so that the tick waits for it in spite of its
own priority. Therefore no thread of the process stays at an ordinary priority where real time is permitted: the others
are one step below the tick. What keeps them from taking the processor away from the rest of the machine is not their
priority but a share of one core (`Share`) that they do not exceed, however much is asked of them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

TICK = 50
"""The real-time priority of the tick thread and of the threads of the middleware, which deliver to it."""
BESIDE = TICK - 1
SHARE = 0.2
_LONGEST_REST_S = 0.5


def become_real_time() -> str:
    """Ask for SCHED_FIFO for the calling thread and all that it starts.

    What receives for the middleware must not wait behind a busy machine either.

    Returns `fifo`, or `other` where that is not permitted.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(TICK))
    except OSError as error:
        log.warning("No real-time scheduling (%s); ticks may be late under load", error.strerror)
        return "other"
    return "fifo"


def step_back(name: str | None = None) -> None:
    """Put the calling thread one step below the tick; without real time it stays as it is.

    `name`: what to call it from now on.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(BESIDE))
    if name is not None:
        show_name(name)


def show_name(name: str) -> None:
    """Let `top -H` and /proc show the calling thread under this name, of at most 15 characters."""
    with suppress(OSError):  # only for those who look
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)


class Share:
    """Keeps a thread to `share` of one core. Call `rest` after each piece of work, in the thread that does the work."""

    def __init__(self, share: float = SHARE, shortest_s: float = 0.0) -> None:
        self._rest_per_work = 1.0 / share - 1.0
        self._shortest_s = shortest_s
        self._used_s = time.thread_time()

    def rest(self) -> None:
        """Sleep in proportion to the processor time since the last rest, and for `shortest_s` (s) at least."""
        worked_s = time.thread_time() - self._used_s
        time.sleep(max(self._shortest_s, min(self._rest_per_work * worked_s, _LONGEST_REST_S)))
        self._used_s = time.thread_time()
