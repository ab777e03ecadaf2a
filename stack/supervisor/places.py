"""Which client of a socket gives its place to a new one when all places are taken.

So an operator always gets in.
"""

from __future__ import annotations

import selectors
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from model_registry.core.lines import Peer
from stack.supervisor.requests import Request

MAX_CONNECTIONS = 32
"""Places of each socket."""
GRACE_S = 0.05
"""For so long who has just come, or was just answered, keeps its place, unless its process has several."""


@dataclass(eq=False)
class Connection:
    """One client, with its process, user and group id.

    `deadline_s` (monotonic) moves with every whole line and every answer.
    """

    socket: socket.socket
    endpoint: str
    peer: Peer
    admitted: bool
    opened_s: float
    deadline_s: float
    received: bytes = b""
    to_send: bytes = b""
    request: Request | None = None
    """Under way."""
    polls: bool = False
    """Its last request was `status`."""
    served_s: float = 0.0
    """When its last request was answered (monotonic s)."""
    last: bool = False
    """Close when everything is sent."""

    @property
    def pid(self) -> int:
        return self.peer.pid

    @property
    def events(self) -> int:
        """Write while something is left to send; read only while nothing is under way."""
        if self.to_send:
            return selectors.EVENT_WRITE
        return 0 if self.request is not None else selectors.EVENT_READ

    def may_go(self, now_s: float, alone: bool) -> bool:
        """Whether it may be sent away. `alone`: its process is known to have no other place, or is not known."""
        if not self.admitted or self.polls:
            return True
        idle_s = now_s - max(self.opened_s, self.served_s)
        return self.request is None and (idle_s > GRACE_S or not alone)


def least_needed(connections: Iterable[Connection], now_s: float) -> Connection | None:
    """Who has to go for a new client: of the process that has the most places, whoever came first.

    None when nobody may be sent away now.

    Only who polls, or says nothing, is sent away: a request that changes something is answered first. The kernel does
    not tell processes of other containers apart (pid 0).
    """
    here = list(connections)
    places = Counter(each.pid for each in here)
    candidates = [each for each in here if each.may_go(now_s, alone=not each.pid or places[each.pid] == 1)]
    return min(candidates, key=lambda each: (each.admitted, -places[each.pid], each.opened_s), default=None)
