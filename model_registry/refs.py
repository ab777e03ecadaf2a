"""Names that people type: where artifacts are kept (`oci:DIR`, `https://host`) and which one is meant (`name:tag`,
`name@sha256:…`).

Everything passes this grammar before it becomes a path or a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from model_registry.core.digest import Digest
from model_registry.core.errors import UsageError
from model_registry.core.paths import at_home
from model_registry.core.release import check_name

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-f:]+")


@dataclass(frozen=True)
class Address:
    """Where artifacts are kept: either `folder` (an OCI image-layout directory) or `url` (a registry) is set."""

    folder: Path | None
    url: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `oci:PATH`, `https://host[:port][/namespace]`, or `http://` to this machine only. Raises UsageError."""
        if text.startswith("oci:") and len(text) > 4:
            return cls(at_home(Path(text[4:])), None)
        shown = _without_login(text)
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
            port = parts.port
        except ValueError as error:
            raise UsageError(f"source {shown!r}: {_without_login(str(error))}; name oci:FOLDER or a host") from None
        if "@" in text:
            raise UsageError(
                f"source {shown!r}: carries a login, which everybody could read; use `docker login {host}` or "
                "HOMEPORT_REGISTRY_AUTH"
            )
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise UsageError(f"source {shown!r}: expected oci:FOLDER or https://HOST[:PORT][/NAMESPACE]")
        if parts.query or parts.fragment:
            raise UsageError(f"source {shown!r}: expected a host, perhaps a namespace, and nothing behind it")
        if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
            raise UsageError(f"source {shown!r}: plain http is for this machine only; use https://{host}")
        namespace = parts.path.strip("/")
        if namespace:
            check_name(namespace, f"source {shown!r}: namespace")
        bracketed = f"[{host}]" if ":" in host else host
        url = f"{parts.scheme}://{bracketed}" + (f":{port}" if port is not None else "")
        return cls(None, f"{url}/{namespace}" if namespace else url)

    @property
    def registry(self) -> str:
        """`https://host[:port]` without the namespace; empty for a folder."""
        parts = urlsplit(self.url or "")
        return f"{parts.scheme}://{parts.netloc}" if self.url else ""

    @property
    def namespace(self) -> str:
        """What stands before the name of every repository, such as `acme/robots/`; often empty."""
        path = urlsplit(self.url or "").path.strip("/")
        return f"{path}/" if path else ""

    def __str__(self) -> str:
        return self.url if self.url is not None else f"oci:{self.folder}"


@dataclass(frozen=True)
class Reference:
    """One artifact: a repository name with exactly one of a tag and a digest."""

    repository: str
    tag: str | None
    digest: Digest | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `name:tag` or `name@sha256:…`. Raises UsageError."""
        name, at, digest = text.partition("@")
        if at:
            return cls(check_name(name, f"reference {text!r}"), None, Digest.parse(digest, f"reference {text!r}"))
        name, colon, tag = text.partition(":")
        if not colon:
            raise UsageError(f"reference {text!r}: expected NAME:VERSION or NAME@sha256:…")
        return cls(check_name(name, f"reference {text!r}"), check_tag(tag, f"reference {text!r}"), None)

    @classmethod
    def pinned(cls, text: str) -> tuple[str, Digest]:
        """Read `name@sha256:…` and nothing else: what runs on a robot is named by its digest. Raises UsageError."""
        reference = cls.parse(text)
        if reference.digest is None:
            raise UsageError(
                f"reference {text!r}: expected {reference.repository}@sha256:…; give the digest, not a tag"
            )
        return reference.repository, reference.digest

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest is not None else f"{self.repository}:{self.tag}"


def _without_login(text: str) -> str:
    """What may be shown of something that was meant as a source: nothing of what stands before an @."""
    before, at, rest = text.rpartition("@")
    scheme = f"{before.partition('://')[0]}://" if "://" in before else ""
    return f"{scheme}…@{rest}" if at else text


def check_tag(text: str, path: str) -> str:
    """OCI tag. Raises UsageError."""
    if not _TAG.fullmatch(text):
        raise UsageError(f"{path}: expected a tag such as 1.4.2, got {text!r}")
    return text
