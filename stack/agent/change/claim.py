"""One change of the robot at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stack.agent.change.recovery import close_open
from stack.agent.host import Host

CHANGE_S = 14_400.0


@contextmanager
def claimed(host: Host, owner: str, verb: str, lasts_s: float = CHANGE_S) -> Iterator[None]:
    """Hold the claim for `verb`, at most `lasts_s` seconds. Raises LockedError naming who holds it.

    What a change before this one has left open is ended first. All verbs but `stage` keep the keeper off the slots. A
    release that is left on probation keeps the claim until it is decided.
    """
    work = host.work
    work.claim.take(owner, verb, lasts_s, host.journal.fence)
    fence = work.claim.fence
    work.claimed()
    try:
        host.store.prepare()  # somebody may have deleted them
        with work.busy:
            close_open(host)
            if verb != "stage":
                yield
        if verb == "stage":
            yield
    finally:
        work.end(fence)
