"""WWW-Authenticate as RFC 9110 allows it: several challenges in one header or in more, quoted values or bare ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=][^\s,"]*))')
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+(?=[^\s,])|(?=[ \t]*(?:,|$)))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)")
_STRONGEST_FIRST = ("bearer", "basic")


@dataclass
class Challenge:
    """One way to log in; scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """What the headers offer and we can answer, a token before a password."""
    known = [each for header in headers for each in _parts(header) if each.scheme in _STRONGEST_FIRST]
    return sorted(known, key=lambda each: _STRONGEST_FIRST.index(each.scheme))


def _parts(header: str) -> Iterator[Challenge]:
    """The challenges of one header up to what is no challenge at all."""
    current: Challenge | None = None
    place = _end(_GAP, header, 0)
    while place < len(header):
        if current is not None and (parameter := _PARAMETER.match(header, place)):
            quoted = parameter[2]
            value = parameter[3] if quoted is None else _ESCAPED.sub(r"\1", quoted)
            current.parameters.setdefault(parameter[1].lower(), value)
            place = parameter.end()
        elif scheme := _SCHEME.match(header, place):
            if current is not None:
                yield current
            current = Challenge(scheme[1].lower())
            place = _end(_TOKEN68, header, scheme.end())
        else:
            break
        place = _end(_GAP, header, place)
    if current is not None:
        yield current


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return place if found is None else found.end()
