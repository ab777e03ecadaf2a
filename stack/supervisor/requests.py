"""The requests of both sockets, parsed.

They wait for the next tick as tickets, and are answered when they took effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.layout import SLOTS
from model_registry.core.lines import PROTOCOL
from stack.supervisor.selection import Selected

MAX_LINE_BYTES = 4096
MAX_PROBATION_S = 86_400.0
CONTROL = "control"
OPERATOR = "operator"
ESTOP = "estop"
STATUS = "status"
_FOR_THE_STATE_MACHINE = frozenset({"arm", "reset", ESTOP})
_MOST_CHANGES = 4
# More than both sockets have places; what is dropped at most is the question of a poller that is gone.
_MOST_WAITING = 256
_VERBS = {CONTROL: (STATUS, "select", "hold", "unhold"), OPERATOR: (STATUS, "arm", "reset", ESTOP)}

Answer = dict[str, object] | HomeportError


@dataclass(frozen=True, slots=True)
class Request:
    """A verb.

    `select` has what it wants, `probation_s` and `fallback`; `hold` has an owner and a reason, `unhold` an owner.
    `reset` with `gone` also forgets e-stop buttons that vanished while they were pressed.
    """

    verb: str
    wanted: Selected | None = None
    probation_s: float = 0.0
    fallback: str | None = None
    owner: str = ""
    reason: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A request, and who waits for the answer. `answer` is called by the tick thread and must not block."""

    request: Request
    answer: Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Due:
    """What one tick serves.

    `operator` has tickets of one verb only: what came first, but an estop before everything else.
    """

    operator: tuple[Ticket, ...] = ()
    """arm, reset or estop: the state machine decides, once for all of them."""
    changes: tuple[Ticket, ...] = ()
    """select, hold and unhold, in the order in which they came."""
    status: tuple[Ticket, ...] = ()
    """All get the same document, so that many who ask cost a tick no more than one."""


class Tickets:
    """Requests on their way to the tick thread, which takes the urgent ones first.

    Nobody's question keeps an operator's estop waiting.

    `append` may be called by any thread, `take` by the tick thread.
    """

    def __init__(self) -> None:
        self._estops: deque[Ticket] = deque(maxlen=_MOST_WAITING)
        self._operator: deque[Ticket] = deque(maxlen=_MOST_WAITING)
        self._changes: deque[Ticket] = deque(maxlen=_MOST_WAITING)
        self._status: deque[Ticket] = deque(maxlen=_MOST_WAITING)

    def append(self, ticket: Ticket) -> None:
        verb = ticket.request.verb
        if verb == ESTOP:
            self._estops.append(ticket)
        elif verb == STATUS:
            self._status.append(ticket)
        elif verb in _FOR_THE_STATE_MACHINE:
            self._operator.append(ticket)
        else:
            self._changes.append(ticket)

    def take(self) -> Due:
        operator = _first(self._estops, len(self._estops)) or _of_one_verb(self._operator)
        return Due(operator, _first(self._changes, _MOST_CHANGES), _first(self._status, len(self._status)))


def _first(waiting: deque[Ticket], count: int) -> tuple[Ticket, ...]:
    return tuple(waiting.popleft() for _ in range(min(count, len(waiting))))


def _of_one_verb(waiting: deque[Ticket]) -> tuple[Ticket, ...]:
    """All that ask for what the first one asks for; the others stay in their order."""
    tickets = _first(waiting, len(waiting))
    taken = tuple(each for each in tickets if each.request.verb == tickets[0].request.verb)
    waiting.extendleft(reversed([each for each in tickets if each not in taken]))
    return taken


def parse_request(line: bytes, endpoint: str) -> Request:
    """Read one line of one socket. Raises UsageError."""
    if len(line) > MAX_LINE_BYTES:
        raise UsageError(f"request: longer than {MAX_LINE_BYTES} bytes; send one short line")
    reader = Reader(parse(line, "request"), "request")
    if (version := reader.integer("v")) != PROTOCOL:
        raise UsageError(f"request.v: this supervisor speaks {PROTOCOL}, got {version}")
    verb = reader.text("verb", _VERBS[endpoint])
    request = Request(verb)
    if verb == "select":
        wanted = Selected(reader.text("slot", SLOTS), reader.digest("release"))
        probation_s = reader.number("probation_s", 0.0, MAX_PROBATION_S)
        request = Request(verb, wanted, probation_s, reader.text("fallback", SLOTS) if reader.has("fallback") else None)
    elif verb == "hold":
        request = Request(verb, owner=_short(reader, "owner", 64), reason=_short(reader, "reason", 200))
    elif verb == "unhold":
        request = Request(verb, owner=_short(reader, "owner", 64))
    elif verb == "reset":
        request = Request(verb, gone=reader.has("gone") and reader.boolean("gone"))
    reader.done()
    return request


def _short(reader: Reader, key: str, longest: int) -> str:
    text = reader.text(key)
    if not text or len(text) > longest or not text.isprintable():
        raise UsageError(f"request.{key}: expected 1 to {longest} printable characters")
    return text
