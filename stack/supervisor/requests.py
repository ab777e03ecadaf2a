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


@dataclass(frozen=True, slots=True)
class Plain:
    """status, arm, reset or estop."""

    verb: str


@dataclass(frozen=True, slots=True)
class Select:
    """Make a slot the driver."""

    wanted: Selected
    probation_s: float
    fallback: str | None


@dataclass(frozen=True, slots=True)
class Hold:
    """Command zero until the same owner lets go."""

    owner: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unhold:
    """Let go."""

    owner: str


Request = Plain | Select | Hold | Unhold
Answer = dict[str, object] | HomeportError


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request, and who waits for the answer. `answer` is called by the tick thread and must not block."""

    request: Request
    answer: Callable[[Answer], None]


def parse_request(line: bytes, endpoint: str) -> Request:
    """Read one line of one socket. Raises UsageError."""
    reader = Reader(parse(line, "request", MAX_LINE_BYTES), "request")
    if (version := reader.integer("v")) != PROTOCOL:
        raise UsageError(f"request.v: this supervisor speaks {PROTOCOL}, got {version}")
    verb = reader.text("verb", _VERBS[endpoint])
    read = _READERS.get(verb)
    request = Plain(verb) if read is None else read(reader)
    reader.done()
    return request


def _select(reader: Reader) -> Request:
    return Select(
        Selected(reader.text("slot", SLOTS), reader.digest("release")),
        reader.number("probation_s", 0.0, MAX_PROBATION_S),
        reader.text("fallback", SLOTS) if reader.has("fallback") else None,
    )


def _hold(reader: Reader) -> Request:
    return Hold(_short(reader, "owner", 64), _short(reader, "reason", 200))


def _unhold(reader: Reader) -> Request:
    return Unhold(_short(reader, "owner", 64))


def _short(reader: Reader, key: str, longest: int) -> str:
    text = reader.text(key)
    if not text or len(text) > longest or not text.isprintable():
        raise UsageError(f"request.{key}: expected 1 to {longest} printable characters")
    return text


_READERS: dict[str, Callable[[Reader], Request]] = {"select": _select, "hold": _hold, "unhold": _unhold}
