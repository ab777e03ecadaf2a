"""Ends a supervisor that hangs, so that systemd starts it again: one that does not tick is better started anew.

Meanwhile the base has stopped by itself.

The thread that waits here is the interpreter's own and needs nothing of it: what holds the interpreter for good is
found too, and where every thread stood is the last that the process writes. Where nobody reads what it writes, that
thread waits as well; a second later the kernel ends the process.
"""

from __future__ import annotations

import faulthandler
import signal

HUNG_S = 5.0
_WRITE_S = 1.0


class Watchdog:
    """Call `look` again and again, and end the process when its value does not rise for `limit_s`.

    The process ends with exit code 1 or by SIGALRM.

    Made and called in the main thread. `terminal` is the descriptor of the real standard error.
    """

    def __init__(self, limit_s: float = HUNG_S, terminal: int = 2) -> None:
        self._terminal = terminal
        self._limit_s = limit_s
        self._count = -1
        # Who started the process may have left it ignored or blocked.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})

    def look(self, count: int) -> None:
        """Begin to wait anew when `count` has risen."""
        if count > self._count:
            self._count = count
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._terminal)
            signal.setitimer(signal.ITIMER_REAL, self._limit_s + _WRITE_S)

    def end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
