"""The images of robots that are containers: Debian with systemd and sshd, made from Debian's packages.

`FLEET` has a Docker engine of its own, and the registry of the bench is made from it too. `plain` robots have a Python
and nothing else.
"""

from __future__ import annotations

from tests.testbed.rootfs import Recipe

BASE = ("dbus", "iproute2", "openssh-server", "openssl", "procps", "python3", "sudo", "systemd", "systemd-sysv")
PLAIN_LOGIN = "deploy"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python of each release of Debian that a robot may have."""
MASKED = "getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer"


def robot(repository: str, suite: str, packages: tuple[str, ...], login: str, *hooks: str) -> Recipe:
    """A robot of a release of Debian.

    It has an operator, `login`, who may become root, ssh keys of its own, and only the services that it needs.
    """
    return Recipe(
        repository=repository,
        suite=suite,
        packages=tuple(sorted({*BASE, *packages})),
        hooks=(
            f"useradd --create-home --shell /bin/bash {login}",
            f"echo '{login} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{login}",
            "rm -f /etc/ssh/ssh_host_*",
            *hooks,
            "systemctl set-default multi-user.target",
            f"systemctl mask {MASKED}",
        ),
        changes=('CMD ["/sbin/init"]',),
    )


FLEET = robot(
    "homeport-bench",
    "bookworm",
    ("ca-certificates", "docker-registry", "docker.io", "iptables"),
    "homeport",
    "systemctl disable docker-registry.service",
)


def plain(suite: str) -> Recipe:
    """A robot without Docker: a release of Debian with its own Python, which can make environments."""
    return robot(f"homeport-bench-plain-{suite}", suite, ("python3-venv",), PLAIN_LOGIN)
