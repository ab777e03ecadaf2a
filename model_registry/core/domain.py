"""ROS domains: which ones there are, and which ports of this machine each takes.

The middleware computes its UDP ports from the domain: 7400 + 250 × domain for discovery, and from ten above it two for
each process. Beyond 232 they would pass the last port there is, and a process ends at its start.
"""

from __future__ import annotations

from pathlib import Path

from model_registry.core.errors import UsageError

LAST_DOMAIN = 232
_FIRST_PORT = 7400
_PORTS = 250
_PROCESSES = 50
"""As many as one robot may have in its domain, with room to spare."""


def check_domain(domain: int, what: str) -> int:
    """The domain. Raises UsageError naming `what` said it."""
    if not 0 <= domain <= LAST_DOMAIN:
        raise UsageError(
            f"{what}: expected a ROS domain from 0 to {LAST_DOMAIN}, got {domain}; beyond it there are no ports, "
            "choose another one"
        )
    return domain


def ports_of(domain: int) -> range:
    """The UDP ports that the processes of one robot take."""
    first = _FIRST_PORT + _PORTS * domain
    return range(first, first + 10 + 2 * _PROCESSES + 2)


def clash(domain: int, proc: Path = Path("/proc")) -> str | None:
    """What to say when the kernel also gives a domain's ports to outgoing connections; None when it cannot."""
    try:
        low, high = map(int, (proc / "sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return None
    ports = ports_of(domain)
    if ports[-1] < low or ports[0] > high:
        return None
    return (
        f"ROS domain {domain} has the ports {ports[0]} to {ports[-1]}, which any program here may get for a connection "
        f"of its own ({low} to {high})"
    )
