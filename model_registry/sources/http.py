"""HTTP for registries.

Every request has a deadline, transient failures are tried again, and only the registry's own origin (scheme, host and
port) may ask for credentials: whoever it leads to by a redirect, a Link or a Location gets none and is asked for none.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, SSLError
from urllib3.response import BaseHTTPResponse

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import RefusedError, UntrustedError, UsageError
from model_registry.refs import LOOPBACK_HOSTS
from model_registry.sources import credentials, refusals
from model_registry.sources.access import Access
from model_registry.sources.challenges import Challenge, challenges
from model_registry.sources.credentials import Login
from model_registry.sources.patience import Contact, LinkPatience, TransferError

__all__ = ["Body", "Client", "TransferError", "joined", "read_capped"]

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})
_MAX_HOPS = 5
_MAX_TOKEN_BYTES = 65_536
CONNECT_S = 4.0
READ_S = 30.0
SEND_S = 30.0

P = ParamSpec("P")
T = TypeVar("T")
Body = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class HttpRequest:
    """One request as it is sent again after a challenge or a redirect. `scope`: repositories and rights, with spaces
    between several; `read_s`: how long its answer may take, in seconds.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body | None
    scope: str
    read_s: float


class Client:
    """One registry host, whose `url` has no path."""

    def __init__(self, url: str, short: bool = False) -> None:
        self.url = url
        self.contact = Contact(short)
        self._access = Access()
        self._tokens: dict[str, str] = {}
        self._login: Login | None = None
        self._asked_for_login = False

    def patience(self, stop: threading.Event | None = None) -> LinkPatience:
        return LinkPatience(self.contact, stop)

    def retry(self, action: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Run `action` again after a TransferError, as long as LinkPatience has it."""
        patience = self.patience()
        while True:
            try:
                return action(*args, **named)
            except TransferError as error:
                patience.wait(error)

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scope: str = "",
        read_s: float = READ_S,
    ) -> Iterator[BaseHTTPResponse]:
        """Send one request, answer one challenge, follow redirects.

        Raises TransferError, or RefusedError for 401 and 403.
        """
        request = HttpRequest(method, joined(self.url, url), headers or {}, body, scope, read_s)
        answer, target = self._send(request)
        try:
            if answer.status == 401 and _origin(target) == _origin(self.url) and self._authorize(answer, scope):
                answer.close()
                answer, target = self._send(request)
            self._check_answer(answer, method, target)
            self.contact.reached = True
            with self._translated(self.url, f"{method} broke off"):
                yield answer
        finally:
            answer.close()

    def _check_answer(self, answer: BaseHTTPResponse, method: str, target: str) -> None:
        if answer.status in _TRANSIENT:
            asked = refusals.asked_s(answer)
            kind = "; it is a rate limit" if answer.status == 429 else ""
            said = refusals.words(answer)
            raise TransferError(f"{self.url}: {method} failed ({said}){kind}; try again later", asked)
        if answer.status not in (401, 403):
            return
        said = refusals.words(answer)
        if _origin(target) != _origin(self.url):
            stranger = urlsplit(target).hostname
            raise RefusedError(f"{self.url}: leads to {stranger}, which refused {method} ({said}); fix the registry")
        if answer.status == 403 and ", " in said:
            raise RefusedError(f"{self.url}: {method} refused ({said}); ask who runs this registry")
        host = urlsplit(self.url).netloc
        raise RefusedError(
            f"{self.url}: {method} refused ({said}); log in with `docker login {host}`, or set "
            "HOMEPORT_REGISTRY_AUTH=user:password"
        )

    def _send(self, request: HttpRequest) -> tuple[BaseHTTPResponse, str]:
        """The answer, and the URL that gave it."""
        target = request.url
        follows = _REDIRECTS if request.method in ("GET", "HEAD") else _KEEP_METHOD
        for _ in range(_MAX_HOPS):
            self._check_target(target)
            sent = {"Accept-Encoding": "identity", **request.headers}
            if _origin(target) == _origin(self.url) and (token := self._tokens.get(request.scope)):
                sent["Authorization"] = token
            answer = self._open(request, target, sent)
            if answer.status not in follows:
                return answer, target
            target = joined(target, answer.headers.get("Location", ""))
            answer.close()
        raise TransferError(
            f"{self.url}: {request.method} was redirected more than {_MAX_HOPS} times; check the registry"
        )

    def _open(self, request: HttpRequest, target: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        body = None if request.body is None else request.body()
        # What is sent has the time of a connection: urllib3 knows no other for it.
        timeout = urllib3.Timeout(connect=CONNECT_S if body is None else SEND_S, read=request.read_s)
        with self._translated(target, f"{request.method} failed"):
            return self._access.pool(target).request(
                request.method, target, headers=headers, body=body, timeout=timeout, redirect=False,
                preload_content=False, decode_content=False,
            )  # fmt: skip

    @contextmanager
    def _translated(self, target: str, what: str) -> Iterator[None]:
        """Network errors as ours."""
        try:
            yield
        except (HTTPError, OSError) as error:
            place = urlsplit(target).netloc
            if _is_of_certificates(error):
                raise UntrustedError(f"https://{place}: {refusals.distrust(error)}") from error
            raise TransferError(
                f"{self.url}: {what} ({refusals.reason(error)}); check that it runs, then try again"
            ) from error

    def _check_target(self, target: str) -> None:
        parts = urlsplit(target)
        plain = parts.scheme == "http" and self.url.startswith("http:") and parts.hostname in LOOPBACK_HOSTS
        if parts.scheme != "https" and not plain:
            raise RefusedError(
                f"{self.url}: leads to {parts.scheme}://{parts.hostname}, which is not https; fix the registry"
            )

    def _authorize(self, answer: BaseHTTPResponse, scope: str) -> bool:
        """Answer a Bearer or Basic challenge; False when there is nothing to answer with."""
        if not self._asked_for_login:
            self._login = credentials.find(urlsplit(self.url).netloc)
            self._asked_for_login = True
        basic = None if self._login is None else self._login.basic
        for challenge in challenges(answer.headers.getlist("WWW-Authenticate")):
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                self._tokens[scope] = self._fetch_token(challenge, scope)
                return True
            if challenge.scheme == "basic" and basic is not None:
                self._tokens[scope] = basic
                return True
        return False

    def _fetch_token(self, challenge: Challenge, scope: str) -> str:
        given = challenge.parameters
        realm = joined(self.url, given["realm"])
        self._check_target(realm)
        scopes = dict.fromkeys(given.get("scope", "").split() or scope.split())
        if " " in scope:  # a challenge names one repository, a mount needs both
            scopes.update(dict.fromkeys(scope.split()))
        query = [("service", given["service"])] if "service" in given else []
        query += [("scope", each) for each in scopes]
        request = self._token_request(realm, query)
        what = f"{urlsplit(realm).hostname}: token"
        with self._open(request, request.url, request.headers) as answer:
            if answer.status in _TRANSIENT:
                raise TransferError(
                    f"{what}: failed ({refusals.words(answer)}); try again later", refusals.asked_s(answer)
                )
            if answer.status != 200:
                raise RefusedError(
                    f"{what} refused ({refusals.words(answer)}); log in again, or check HOMEPORT_REGISTRY_AUTH"
                )
            with self._translated(realm, "GET broke off"):
                document = parse(read_capped(answer, _MAX_TOKEN_BYTES, what), what, _MAX_TOKEN_BYTES)
        reader = Reader(document, what)
        return "Bearer " + reader.text("token" if reader.has("token") else "access_token")

    def _token_request(self, realm: str, query: list[tuple[str, str]]) -> HttpRequest:
        """A GET with the password, or the POST that OAuth 2 has for an identity token."""
        login = self._login
        if login is not None and login.token:
            form = [*query, ("grant_type", "refresh_token"), ("refresh_token", login.token), ("client_id", "homeport")]
            scopes = " ".join(value for key, value in query if key == "scope")
            form = [(key, value) for key, value in form if key != "scope"] + ([("scope", scopes)] if scopes else [])
            data = urlencode(form).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(data))}
            return HttpRequest("POST", realm, headers, lambda: (data,), "", READ_S)
        headers = {} if login is None or login.basic is None else {"Authorization": login.basic}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        return HttpRequest("GET", url, headers, None, "", READ_S)


def joined(base: str, place: str) -> str:
    """Where an answer of `base` leads. Raises RefusedError for what is no URL at all."""
    try:
        target = urljoin(base, place)
        _origin(target)
    except ValueError as error:
        raise RefusedError(f"{base}: leads to {place[:80]!r}, which is no URL ({error}); check the registry") from error
    return target


def read_capped(response: BaseHTTPResponse, max_bytes: int, what: str) -> bytes:
    """A whole body. Raises UsageError when it is longer than `max_bytes`."""
    data = response.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UsageError(f"{what}: more than {max_bytes} bytes; is this an OCI registry?")
    return data


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _is_of_certificates(error: BaseException) -> bool:
    """Whether one side did not take the other's certificate; any other failure of TLS may pass."""
    told = str(error).lower()
    of_tls = [each for each in refusals.causes(error) if isinstance(each, (SSLError, ssl.SSLError))]
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in of_tls):
        return True
    return (
        bool(of_tls)
        and "alert" in told
        and any(word in told for word in ("certificate", "handshake", "unknown ca", "decrypt"))
    )
