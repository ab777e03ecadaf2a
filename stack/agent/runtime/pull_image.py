"""Have Docker pull an image from the registries that a release comes from, with the site's login."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model_registry.core.addresses import registries
from model_registry.core.errors import HomeportError, RefusedError
from stack.agent.machine.clock import Clock

_PULL_S = 3600.0
_PULL_ERRORS = (
    ("no space left", "Docker's disk is full; remove old images there"),
    ("manifest unknown", "this registry does not have it; push it there"),
    (
        "expired or is not yet valid",
        "its certificate is not valid now, and this robot's clock {clock}; set it (timedatectl)",
    ),
    ("x509", "its certificate is not trusted; apply the role `device` with homeport_registry_ca"),
    ("denied", "this robot may not read it; give it a login: role `device`, homeport_registry_login"),
    ("unauthorized", "this robot is not logged in; give it a login: role `device`, homeport_registry_login"),
)


def pull_image(ask: Callable[..., str], config: Path, source: str, name: str) -> str:
    """Pull `name` (REPOSITORY@DIGEST) from the first source that has it; its whole reference.

    `config` is the folder of the login, where there is one. Raises HomeportError as the last source did, RefusedError
    where none is a registry.
    """
    hosts = [each.removeprefix("https://").rstrip("/") for each in registries(source)]
    if not hosts:
        raise RefusedError("--source: runtime docker pulls images from https://HOST[:PORT][/NAMESPACE]")
    login = ("--config", str(config)) if config.exists() else ()
    for host in hosts[:-1]:
        with suppress(HomeportError):
            return _pull(ask, login, f"{host}/{name}")
    return _pull(ask, login, f"{hosts[-1]}/{name}")


def _pull(ask: Callable[..., str], login: tuple[str, ...], reference: str) -> str:
    try:
        ask("docker", *login, "pull", "--quiet", reference, timeout_s=_PULL_S)
    except HomeportError as error:
        known = (advice for words, advice in _PULL_ERRORS if words in str(error).lower())
        advice = next(known, f"is the registry reachable from here? ({error})")
        advice = advice.replace("{clock}", Clock().stands())
        raise HomeportError(f"{reference}: cannot be pulled: {advice}") from error
    return reference
