"""Locks that end by themselves.

A lease says who holds it, what for, since when and until when. It is taken over once that is past or its holder is
dead.

`until_ns` is monotonic and means nothing in another boot; the wall time is for people only. Leases are in the run
folder, so that a full disk stops no rollback. Every claim has a higher fence than all before it, and whoever writes
under an older one is refused: by the journal, and by `check`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from model_registry.core.documents import Reader, dump, fill, parse
from model_registry.core.errors import HomeportError, LockedError, RefusedError
from model_registry.core.files import held, write_volatile
from stack.agent.disk.journal import utc_now
from stack.agent.machine.processes import ProcessId, start_ticks, this_process

_TAKE_S = 5.0
SERVING_S = 180.0
"""How long an agent may say nothing before another one may take over."""


def own_folder(folder: Path) -> None:
    """Make the run folder. Raises RefusedError when somebody else made it first."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (0, os.getuid()):
        raise RefusedError(f"{folder}: belongs to somebody else; remove it")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a lease file says."""

    owner: str
    reason: str
    since: str
    pid: int
    start_ticks: int
    boot: str
    until_ns: int
    fence: int

    @property
    def over(self) -> bool:
        """Whether it ran out, or its holder is gone."""
        me = this_process()
        ticks = me.start_ticks if self.pid == me.pid else start_ticks(self.pid)
        return self.boot != me.boot or ticks != self.start_ticks or time.monotonic_ns() >= self.until_ns


class Lease:
    """`take`, then `renew` or not, then `drop`. `terms` are ours while we hold it."""

    def __init__(self, path: Path, me: ProcessId, wall: Callable[[], str] = utc_now) -> None:
        self._path = path
        self._me = me
        self._wall = wall
        self.terms: Terms | None = None

    @property
    def fence(self) -> int:
        return 0 if self.terms is None else self.terms.fence

    @property
    def overdue(self) -> bool:
        """Whether we hold it and should not any more."""
        return self.terms is not None and self.terms.over

    def take(self, owner: str, reason: str, lasts_s: float, least_fence: int = 0) -> None:
        """Raises LockedError naming the holder and since when."""
        with held(self._path.with_suffix(".lock"), _TAKE_S, reason):
            found = self._read()
            if found is not None and not found.over:
                text = f"{found.reason} by {found.owner} is running since {found.since}"
                raise LockedError(f"{reason}: {text}; wait for it, or roll it back")
            fence = max(least_fence, 0 if found is None else found.fence) + 1
            me = (self._me.pid, self._me.start_ticks, self._me.boot)
            self._write(Terms(owner, reason, self._wall(), *me, _until(lasts_s), fence))

    def renew(self, lasts_s: float) -> None:
        """Raises LockedError when somebody took it over."""
        self.check()
        if self.terms is not None:
            self._write(replace(self.terms, until_ns=_until(lasts_s)))

    def check(self) -> None:
        """Raises LockedError when somebody with a higher fence has it."""
        found = self._read()
        if self.terms is not None and found is not None and found.fence > self.terms.fence:
            raise LockedError(f"{self.terms.reason}: {found.owner} has taken over since {found.since}; ask it")

    def drop(self) -> None:
        """What stays is the fence."""
        terms = self.terms
        found = self._read()
        if terms is not None and (found is None or found.fence == terms.fence):
            self._write(replace(terms, until_ns=0))
        self.terms = None

    def _read(self) -> Terms | None:
        try:
            return fill(Terms, Reader(parse(self._path.read_bytes(), self._path.name), self._path.name))
        except (OSError, HomeportError):
            return None

    def _write(self, terms: Terms) -> None:
        write_volatile(self._path, dump(asdict(terms)))
        self.terms = terms


def _until(lasts_s: float) -> int:
    return time.monotonic_ns() + int(lasts_s * 1e9)
