"""The images of robots that are containers: Debian with systemd and sshd, made from Debian's packages.

`FLEET` has a Docker engine of its own, and the registry of the bench is made from it too. `PLAIN` robots have a Python
and nothing else. Each root filesystem is cached by the hash of everything it is made from, so that it is downloaded
once.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

REPOSITORY = "homeport-bench"
BASE = ("dbus", "iproute2", "openssh-server", "openssl", "procps", "python3", "sudo", "systemd", "systemd-sysv")
DROPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
CHANGES = ['CMD ["/sbin/init"]']
MASKED = "getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer"


@dataclass(frozen=True)
class System:
    """What a kind of robot is installed with: a release of Debian, packages, and the account to log in to."""

    kind: str
    suite: str
    packages: tuple[str, ...]
    login: str
    hooks: tuple[str, ...] = ()

    def argv(self, output: Path) -> list[str]:
        """How the root filesystem is made."""
        # A robot has an operator who may become root, keys of its own, and only the services that it needs.
        hooks = (
            f"useradd --create-home --shell /bin/bash {self.login}",
            f"echo '{self.login} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{self.login}",
            "rm -f /etc/ssh/ssh_host_*",
            *self.hooks,
            "systemctl set-default multi-user.target",
            f"systemctl mask {MASKED}",
        )
        packages = ",".join(sorted({*BASE, *self.packages}))
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
        command += [f"--dpkgopt=path-exclude={path}" for path in DROPPED]
        command += [f'--customize-hook=chroot "$1" sh -c "{hook}"' for hook in hooks]
        return [*command, self.suite, str(output)]

    @property
    def digest(self) -> str:
        """Changes with everything that the image is made from."""
        recipe = json.dumps([self.argv(Path("root.tar")), CHANGES])
        return hashlib.sha256(recipe.encode()).hexdigest()[:12]


FLEET = System(
    kind="fleet",
    suite="bookworm",
    packages=("ca-certificates", "docker-registry", "docker.io", "iptables"),
    login="homeport",
    hooks=("systemctl disable docker-registry.service",),
)


def plain(suite: str) -> System:
    """A robot without Docker: a release of Debian with its own Python, which can make environments."""
    return System(kind=f"plain-{suite}", suite=suite, packages=("python3-venv",), login="deploy")


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport" / "bench"


def ensure(client: docker.DockerClient, say: Callable[[str], None], system: System = FLEET) -> str:
    """Build the image unless it is there; its name. Raises AssertionError with mmdebstrap's words."""
    name = f"{REPOSITORY}:{system.digest}"
    try:
        client.images.get(name)
    except ImageNotFound:
        root = cache_folder() / system.kind / f"{system.digest}.tar"
        if not root.exists():
            say(f"Making a root filesystem ({system.kind}) from Debian's packages; that takes a minute, once")
            _bootstrap(system, root)
        client.api.import_image(str(root), repository=REPOSITORY, tag=system.digest, changes=CHANGES)
    return name


def _bootstrap(system: System, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_suffix(".part.tar")
    done = subprocess.run(system.argv(part), capture_output=True, text=True, timeout=600)
    if done.returncode:
        part.unlink(missing_ok=True)
        raise AssertionError(f"mmdebstrap could not make the bench's root filesystem: {done.stderr.strip()[-2000:]}")
    for old in root.parent.glob("*.tar"):
        if old != part:
            old.unlink()
    part.rename(root)
