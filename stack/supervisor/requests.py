"""The requests of both sockets, parsed. They wait for the next tick as tickets, and are answered when they took effect."""

from __future__ import annotations

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
_VERBS = {CONTROL: ("status", "select", "hold", "unhold"), OPERATOR: ("status", "arm", "reset", "estop")}

Answer = dict[str, object] | HomeportError


@dataclass(frozen=True, slots=True)
class Request:
    """A verb. `select` has what it wants, `probation_s` and `fallback`; `hold` has an owner and a reason, `unhold` an owner.
    `reset` with `gone` also forgets e-stop buttons that vanished while they were pressed.
    """

    verb: str
    wanted: Selected | None = None
    probation_s: float = 0.0
    fallback: str | None = None
    owner: str = ""
    reason: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request, and who waits for the answer. `answer` is called by the tick thread and must not block."""

    request: Request
    answer: Callable[[Answer], None]


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
