"""What a registry says when it does not do what it was asked, and what a person can do about it."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from http.client import responses

from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from model_registry.core.errors import HomeportError, NotFoundError, RefusedError

_MAX_WORDS_BYTES = 65_536
_MAX_SHOWN = 300
_NOT_YET_VALID = 9
_EXPIRED = 10


def asked_s(response: BaseHTTPResponse) -> float | None:
    """Seconds that an answer asks to wait, whichever form its Retry-After has; None where it asks for nothing."""
    try:
        return Retry().get_retry_after(response)
    except InvalidHeader:
        return None


def words(response: BaseHTTPResponse) -> str:
    """`HTTP 403, DENIED: quota exceeded`: the status, and what the registry itself says of it."""
    status = f"HTTP {response.status}"
    said = _errors(response)
    if said:
        return f"{status}, {said[:_MAX_SHOWN]}"
    return f"{status} {responses.get(response.status, '')}".rstrip()


def _errors(response: BaseHTTPResponse) -> str:
    """`errors[].code` and `message` of the answer's JSON; empty where it has none."""
    try:
        document = json.loads(response.read(_MAX_WORDS_BYTES) or b"{}")
    except (HTTPError, OSError, ValueError, RecursionError):
        return ""
    entries = document.get("errors") if isinstance(document, dict) else None
    told = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            told.append(": ".join(str(entry[key]) for key in ("code", "message") if entry.get(key)))
    return "; ".join(each for each in told if each)


def unexpected(response: BaseHTTPResponse, what: str) -> HomeportError:
    """The error for an answer that is none of those that were asked for."""
    said = words(response)
    if response.status == 413:
        return HomeportError(
            f"{what}: refused ({said}); the registry, or a proxy before it, takes no body of this size"
        )
    if response.status == 404 and "NAME_UNKNOWN" in said:
        return NotFoundError(f"{what}: refused ({said}); create the repository there first, or name another one")
    if response.status == 429:
        return RefusedError(f"{what}: refused ({said}); it is a rate limit: try again later")
    if 400 <= response.status < 500 and ", " in said:
        return HomeportError(f"{what}: refused ({said}); ask who runs this registry")
    return HomeportError(f"{what}: unexpected answer {said}; is this an OCI registry, and up to date?")


def distrust(error: BaseException) -> str:
    """Why a TLS connection was not made.

    A certificate that is not valid now says nothing against its authority: mostly it is the clock.
    """
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    clock = f"by this machine's clock, which shows {now}; set the clock if that is wrong (timedatectl)"
    code = next((each.verify_code for each in causes(error) if isinstance(each, ssl.SSLCertVerificationError)), None)
    if code == _NOT_YET_VALID:
        return f"its certificate is not valid yet {clock}"
    if code == _EXPIRED:
        return f"its certificate has expired {clock}, else let the registry renew it"
    if code is None and "alert" in str(error).lower():
        return (
            f"it refuses our certificate, or asks for one ({reason(error)}); put client.cert and client.key into "
            "certs.d/HOST of Docker's config folder"
        )
    return f"its certificate is not trusted ({reason(error)}); name its CA in HOMEPORT_CA_FILE"


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of, whichever way urllib3 has wrapped it."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            yield from causes(inner)


def reason(error: BaseException) -> str:
    return str(error).rpartition(": ")[2].strip("'\")> ")[:120] or type(error).__name__
