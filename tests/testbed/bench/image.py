"""The one image of the bench:

Debian with systemd, sshd, its own Docker engine and a registry, made from Debian's packages.

The root filesystem is cached by the hash of everything it is made from, so that it is downloaded once.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import docker
from docker.errors import ImageNotFound

SUITE = "bookworm"
REPOSITORY = "homeport-bench"
PACKAGES = (
    "ca-certificates",
    "dbus",
    "docker-registry",
    "docker.io",
    "iproute2",
    "iptables",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
)
# A robot has an operator who may become root, keys of its own, and only the services that it needs.
HOOKS = (
    "useradd --create-home --shell /bin/bash homeport",
    "echo 'homeport ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/homeport",
    "rm -f /etc/ssh/ssh_host_*",
    "systemctl disable docker-registry.service",
    "systemctl set-default multi-user.target",
    "systemctl mask getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer",
)
DROPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
CHANGES = ['CMD ["/sbin/init"]']


def argv(output: Path) -> list[str]:
    """How the root filesystem is made."""
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={path}" for path in DROPPED]
    command += [f'--customize-hook=chroot "$1" sh -c "{hook}"' for hook in HOOKS]
    return [*command, SUITE, str(output)]


def tag() -> str:
    """The image's name, which changes with everything that it is made from."""
    recipe = json.dumps([argv(Path("root.tar")), CHANGES])
    return f"{REPOSITORY}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport" / "bench"


def ensure(client: docker.DockerClient, say: Callable[[str], None]) -> str:
    """Build the image unless it is there; its name. Raises AssertionError with mmdebstrap's words."""
    name = tag()
    try:
        client.images.get(name)
    except ImageNotFound:
        root = cache_folder() / f"{name.partition(':')[2]}.tar"
        if not root.exists():
            say("Making a root filesystem for robots and registry from Debian's packages; that takes a minute, once")
            _bootstrap(root)
        repository, _, version = name.partition(":")
        client.api.import_image(str(root), repository=repository, tag=version, changes=CHANGES)
    return name


def _bootstrap(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_suffix(".part.tar")
    done = subprocess.run(argv(part), capture_output=True, text=True, timeout=600)
    if done.returncode:
        part.unlink(missing_ok=True)
        raise AssertionError(f"mmdebstrap could not make the bench's root filesystem: {done.stderr.strip()[-2000:]}")
    for old in root.parent.glob("*.tar"):
        if old != part:
            old.unlink()
    part.rename(root)
