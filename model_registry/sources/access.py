"""How a host is reached: its certificate authority, our certificate for it, and the proxy between.

Certificates lie where Docker looks for them, in a folder named after the host (`registry.example.org` or
`registry.example.org:5000`): `ca.crt`, `client.cert` and `client.key`, below `certs.d` of Docker's config folder or
below /etc/docker/certs.d. `HOMEPORT_CA_FILE` names the only authority for all hosts. Proxies are those of
`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, else `proxies.default` of Docker's config.json.
"""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass, proxy_bypass_environment  # type: ignore[attr-defined]

import urllib3

from model_registry.core.errors import UsageError
from model_registry.refs import LOOPBACK_HOSTS
from model_registry.sources.credentials import config_folder, proxies

CERTIFICATES = Path("/etc/docker/certs.d")
CONNECTIONS = 4


class Access:
    """Connection pools, one for each host and proxy."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def pool(self, target: str) -> urllib3.PoolManager:
        """The connections to use for a URL. Raises UsageError naming a certificate that cannot be used."""
        parts = urlsplit(target)
        host = parts.netloc.rpartition("@")[2]
        proxy = _proxy(parts.scheme, parts.hostname or "")
        with self._lock:
            if (host, proxy) not in self._pools:
                self._pools[host, proxy] = _open_pool(host, proxy, parts.scheme == "https")
            return self._pools[host, proxy]


def _proxy(scheme: str, hostname: str) -> str:
    """The proxy's URL; empty for a host that is reached without one."""
    if hostname in LOOPBACK_HOSTS or proxy_bypass(hostname):
        return ""
    known = getproxies()
    given = known.get(scheme) or known.get("all", "")
    if not given:
        docker = proxies()
        passed = proxy_bypass_environment(hostname, {"no": docker.get("noProxy", "")})
        given = "" if passed else docker.get(f"{scheme}Proxy", "")
    return given if not given or "://" in given else f"http://{given}"


def _open_pool(host: str, proxy: str, secure: bool) -> urllib3.PoolManager:
    context = _context(host) if secure else None
    if not proxy:
        return urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, ssl_context=context)
    parts = urlsplit(proxy)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(address, proxy_headers=headers, maxsize=CONNECTIONS, retries=False, ssl_context=context)


def _context(host: str) -> ssl.SSLContext:
    only = os.environ.get("HOMEPORT_CA_FILE") or os.environ.get("SSL_CERT_FILE")
    path = Path(only) if only else None
    try:
        context = ssl.create_default_context(cafile=only)
        for folder in (CERTIFICATES / host, config_folder() / "certs.d" / host):
            path = folder / "ca.crt"
            if path.is_file():
                context.load_verify_locations(path)
            path = folder / "client.cert"
            if path.is_file():
                context.load_cert_chain(path, folder / "client.key", password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(f"{path}: cannot be used ({error}); let this user read it, as PEM") from error
    return context


def _no_password() -> str:
    """A key with a password would be asked for on the terminal; robots have none."""
    raise ValueError("its key is protected by a password")
