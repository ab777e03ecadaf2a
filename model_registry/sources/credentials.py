"""Who we are for a registry: what `docker login` has kept, or `HOMEPORT_REGISTRY_AUTH` (`user:password`).

The file is `config.json` of the folder `DOCKER_CONFIG`, or of ~/.docker: `auths`, `credHelpers` and `credsStore`, as
Docker reads them, so that one login serves Docker and us.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.errors import UsageError

_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_S = 20.0
_MAX_CONFIG_BYTES = 1 << 20
_TOKEN_USER = "<token>"


@dataclass(frozen=True)
class Login:
    """A user and a password, or an identity `token` that a token server takes in their place. Never shown."""

    user: str = ""
    password: str = ""
    token: str = ""

    @classmethod
    def read(cls, text: str) -> Login:
        """`user:password`."""
        user, _, password = text.partition(":")
        return cls(user, password)

    def __repr__(self) -> str:
        return "Login(…)"

    @property
    def basic(self) -> str | None:
        """The header of a Basic login, in UTF-8 as Docker sends it; None for a token."""
        if not self.user:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def config_folder() -> Path:
    """Where Docker keeps its config.json for who runs this."""
    given = os.environ.get("DOCKER_CONFIG")
    return Path(given) if given else Path("~/.docker").expanduser()


def proxies() -> dict[str, str]:
    """Docker's own proxies for those who name none: `httpProxy`, `httpsProxy`, `noProxy`. Raises UsageError."""
    config = _load(config_folder() / "config.json").get("proxies")
    default = config.get("default") if isinstance(config, dict) else None
    return {key: value for key, value in (default or {}).items() if isinstance(value, str)}


def find(host: str) -> Login | None:
    """The login for `host[:port]`. Raises UsageError naming a file or a helper that cannot be used."""
    given = os.environ.get("HOMEPORT_REGISTRY_AUTH")
    if given:
        return Login.read(given)
    path = config_folder() / "config.json"
    config = _load(path)
    helpers = config.get("credHelpers")
    helper = helpers.get(host) if isinstance(helpers, dict) else None
    if helper is None:
        kept = _from_file(config, host, path)
        if kept is not None:
            return kept
        helper = config.get("credsStore")
    return None if helper is None else _from_helper(str(helper), host, path)


def _load(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_CONFIG_BYTES).decode())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); let this user read it") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON in UTF-8; log in again with `docker login`") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: is no JSON object; log in again with `docker login`")
    return data


def _from_file(config: dict[str, object], host: str, path: Path) -> Login | None:
    auths = config.get("auths")
    entries = auths if isinstance(auths, dict) else {}
    entry = next((value for key, value in entries.items() if _host_of(key) == host and isinstance(value, dict)), None)
    if not entry:
        return None
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    if "identitytoken" in texts:
        return Login(token=texts["identitytoken"])
    if "auth" not in texts:
        return Login(texts["username"], texts.get("password", "")) if "username" in texts else None
    try:
        return Login.read(base64.b64decode(texts["auth"], validate=True).decode().rstrip("\0"))
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the login of {host} is not base64; log in again with `docker login`") from error


def _host_of(key: str) -> str:
    """`https://host/v1/` as older programs wrote it, or `host`."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _from_helper(name: str, host: str, path: Path) -> Login | None:
    if not _HELPER.fullmatch(name):
        raise UsageError(f"{path}: {name!r} is no name of a credential helper; fix credHelpers or credsStore")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_S)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: names {program}, which is not installed; install it or log in anew") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{program}: no answer within {_HELPER_S:.0f} s; unlock its store, then try again") from error
    if done.returncode:  # it has nothing for this host
        return None
    try:
        answer = json.loads(done.stdout.decode())
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{program}: answers without a Username and a Secret; log in again") from error
    return Login(token=secret) if user == _TOKEN_USER else Login(user, secret)
