"""HTTP for registries.

Every request has a deadline, transient failures are tried again, and credentials stay with the host they belong to.
"""

from __future__ import annotations

import os
import random
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, SSLError
from urllib3.response import BaseHTTPResponse

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, RefusedError, UntrustedError, UsageError
from model_registry.refs import LOOPBACK_HOSTS

TRIES = 4
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS = 5
_MAX_TOKEN_BYTES = 65_536
_NOT_YET_VALID = 9
_EXPIRED = 10
_TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)
_CHALLENGE = re.compile(r'([a-z]+)="([^"]*)"')

P = ParamSpec("P")
T = TypeVar("T")
Body = Callable[[], Iterable[bytes]]


class TransferError(HomeportError):
    """The registry could not be reached, or went away in the middle; trying again may help."""


class Client:
    """One registry host. Credentials: `HOMEPORT_REGISTRY_AUTH` (`user:password`); a private CA: `HOMEPORT_CA_FILE`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._credentials = os.environ.get("HOMEPORT_REGISTRY_AUTH")
        self._tokens: dict[str, str] = {}
        authorities = os.environ.get("HOMEPORT_CA_FILE") or os.environ.get("SSL_CERT_FILE")
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, ca_certs=authorities)

    def retry(self, action: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Run `action` again after a TransferError: 3 times, with growing pauses and jitter."""
        for attempt in range(TRIES - 1):
            try:
                return action(*args, **named)
            except TransferError:
                pause(attempt)
        return action(*args, **named)

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scope: str = "",
    ) -> Iterator[BaseHTTPResponse]:
        """Send one request, answer one challenge, follow redirects.

        Raises TransferError, or RefusedError for 401 and 403.
        """
        response = self._send(method, url, headers or {}, body, scope)
        try:
            if response.status == 401 and self._authorize(response.headers.get("WWW-Authenticate", ""), scope):
                response.close()
                response = self._send(method, url, headers or {}, body, scope)
            if response.status in (401, 403):
                raise RefusedError(
                    f"{self.url}: {method} refused (HTTP {response.status}); set HOMEPORT_REGISTRY_AUTH=user:password"
                )
            if response.status in _TRANSIENT:
                raise TransferError(f"{self.url}: {method} failed (HTTP {response.status}); try again later")
            with self._translated(self.url, f"{method} broke off"):
                yield response
        finally:
            response.close()

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, scope: str
    ) -> BaseHTTPResponse:
        target = joined(self.url, url)
        for _ in range(_MAX_HOPS):
            self._check_target(target)
            sent = {"Accept-Encoding": "identity", **headers}
            if _origin(target) == _origin(self.url) and (token := self._tokens.get(scope)):
                sent["Authorization"] = token
            response = self._open(method, target, sent, None if body is None else body())
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            target = joined(target, response.headers.get("Location", ""))
            response.close()
        raise TransferError(f"{self.url}: {method} was redirected more than {_MAX_HOPS} times; check the registry")

    def _open(
        self, method: str, target: str, headers: Mapping[str, str], body: Iterable[bytes] | None
    ) -> BaseHTTPResponse:
        with self._translated(target, f"{method} failed"):
            return self._pool.request(
                method, target, headers=headers, body=body, redirect=False, preload_content=False, decode_content=False
            )

    @contextmanager
    def _translated(self, target: str, what: str) -> Iterator[None]:
        """Network errors as ours."""
        try:
            yield
        except SSLError as error:
            raise UntrustedError(f"{target}: {_distrust(error)}") from error
        except (HTTPError, OSError) as error:
            raise TransferError(f"{self.url}: {what} ({_reason(error)}); check that it runs, then try again") from error

    def _check_target(self, target: str) -> None:
        parts = urlsplit(target)
        plain = parts.scheme == "http" and self.url.startswith("http:") and parts.hostname in LOOPBACK_HOSTS
        if parts.scheme != "https" and not plain:
            raise RefusedError(
                f"{self.url}: leads to {parts.scheme}://{parts.hostname}, which is not https; fix the registry"
            )

    def _authorize(self, challenge: str, scope: str) -> bool:
        """Answer a Basic or Bearer challenge; False when there is nothing to answer with."""
        basic = self._credentials and urllib3.make_headers(basic_auth=self._credentials)["authorization"]
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "bearer":
            token = self._fetch_token(dict(_CHALLENGE.findall(rest)), basic)
        elif kind.lower() == "basic" and basic is not None:
            token = basic
        else:
            return False
        self._tokens[scope] = token
        return True

    def _fetch_token(self, challenge: Mapping[str, str], basic: str | None) -> str:
        realm = challenge.get("realm", "")
        joined(self.url, realm)
        self._check_target(realm)
        query = urlencode({key: challenge[key] for key in ("service", "scope") if key in challenge})
        headers = {} if basic is None else {"Authorization": basic}
        what = f"{urlsplit(realm).hostname}: token"
        with self._open("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers, None) as response:
            if response.status != 200:
                raise RefusedError(f"{what} refused (HTTP {response.status}); check HOMEPORT_REGISTRY_AUTH")
            answer = parse(response.read(_MAX_TOKEN_BYTES + 1), what, _MAX_TOKEN_BYTES)
        reader = Reader(answer, what)
        return "Bearer " + reader.text("token" if reader.has("token") else "access_token")


def joined(base: str, place: str) -> str:
    """Where an answer of `base` leads. Raises RefusedError for what is no URL at all."""
    try:
        target = urljoin(base, place)
        _origin(target)
    except ValueError as error:
        raise RefusedError(f"{base}: leads to {place[:80]!r}, which is no URL ({error}); check the registry") from error
    return target


def pause(attempt: int) -> None:
    """Wait before the next try: about 0.2, 0.4, 0.8 s."""
    time.sleep(0.2 * 2**attempt * random.uniform(0.5, 1.5))


def read_capped(response: BaseHTTPResponse, max_bytes: int, what: str) -> bytes:
    """A whole body. Raises UsageError when it is longer than `max_bytes`."""
    data = response.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UsageError(f"{what}: more than {max_bytes} bytes; is this an OCI registry?")
    return data


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _distrust(error: BaseException) -> str:
    """Why a certificate was not taken.

    One that is not valid now says nothing against its authority: mostly it is the clock.
    """
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    clock = f"by this machine's clock, which shows {now}; set the clock if that is wrong (timedatectl)"
    code = next((each.verify_code for each in _causes(error) if isinstance(each, ssl.SSLCertVerificationError)), None)
    if code == _NOT_YET_VALID:
        return f"its certificate is not valid yet {clock}"
    if code == _EXPIRED:
        return f"its certificate has expired {clock}, else let the registry renew it"
    return f"its certificate is not trusted ({_reason(error)}); name its CA in HOMEPORT_CA_FILE"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of, whichever way urllib3 has wrapped it."""
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _reason(error: BaseException) -> str:
    return str(error).rpartition(": ")[2][:120] or type(error).__name__
