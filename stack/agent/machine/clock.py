"""Whether the time of day can be believed.

A robot drives with a wrong clock; windows, certificates and readers of logs need a right one.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass

from model_registry.core.layout import Layout

_BEHIND_S = 60.0
_EARLIEST_S = 1_735_689_600.0
"""The first second of 2025: no robot of ours was made before it."""
_ADJTIMEX_BYTES = 512
_UNSYNCHRONISED = 5


def _state() -> int:
    """What adjtimex(2) says without changing anything; -1 where nobody may look."""
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_ADJTIMEX_BYTES)))


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since 1970, and whether the kernel calls them synchronised. Tests give their own."""

    now: Callable[[], float] = time.time
    state: Callable[[], int] = _state

    def stands(self) -> str:
        return f"stands at {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(self.now()))}"

    def doubt(self, layout: Layout) -> str | None:
        """Why the time is not to be believed, and what to do; None when it is."""
        known = [
            path.stat().st_mtime for path in (layout.robot_toml, layout.agent_toml, layout.journal) if path.exists()
        ]
        if self.now() < max(_EARLIEST_S, *known, 0.0) - _BEHIND_S:
            return f"{self.stands()}, before this robot's own files were written; let it reach a time server"
        state = self.state()
        if state == _UNSYNCHRONISED:
            return f"{self.stands()} and nothing keeps it right; enable systemd-timesyncd or chrony"
        if state < 0:
            return f"{self.stands()} and whether it is kept right cannot be seen here; look at it on the host"
        return None
