"""The one image of the bench: Debian with systemd, sshd, its own Docker engine and a registry."""

from __future__ import annotations

from tests.testbed.rootfs import Recipe

# A robot has an operator who may become root, keys of its own, and only the services that it needs.
RECIPE = Recipe(
    repository="homeport-bench",
    suite="bookworm",
    packages=(
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
    ),
    hooks=(
        "useradd --create-home --shell /bin/bash homeport",
        "echo 'homeport ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/homeport",
        "rm -f /etc/ssh/ssh_host_*",
        "systemctl disable docker-registry.service",
        "systemctl set-default multi-user.target",
        "systemctl mask getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer",
    ),
    changes=('CMD ["/sbin/init"]',),
)
