"""ROS domains: those that exist, and those whose ports somebody else may get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_registry.core.domain import LAST_DOMAIN, check_domain, clash, ports_of
from model_registry.core.errors import UsageError
from tests.fakes.ros import REPOSITORY


def test_every_domain_that_is_taken_has_ports_and_the_next_one_has_none() -> None:
    assert all(check_domain(domain, "x") == domain for domain in range(LAST_DOMAIN + 1))
    assert ports_of(LAST_DOMAIN)[-1] <= 65_535 < ports_of(LAST_DOMAIN + 1)[0]
    for domain in (-1, LAST_DOMAIN + 1, 240):
        with pytest.raises(UsageError, match=f"expected a ROS domain from 0 to 232, got {domain}"):
            check_domain(domain, "x")


def test_domains_that_meet_the_ports_of_other_connections_are_named(tmp_path: Path) -> None:
    settings = tmp_path / "sys/net/ipv4"
    settings.mkdir(parents=True)
    (settings / "ip_local_port_range").write_text("32768\t60999\n")

    assert [domain for domain in range(LAST_DOMAIN + 1) if clash(domain, tmp_path)] == list(range(102, 215))
    assert "ROS domain 150 has the ports 44900 to" in str(clash(150, tmp_path))
    (settings / "ip_local_port_range").write_text("50000\t60999\n")
    assert clash(150, tmp_path) is None and clash(150, tmp_path / "nothing") is None


@pytest.mark.parametrize("domain", ["240", "-1", "lab"])
def test_a_supervisor_in_a_domain_that_cannot_be_says_so_at_its_start(domain: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "stack.supervisor", "--root", str(tmp_path)]
    environment = {**os.environ, "ROS_DOMAIN_ID": domain}
    done = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert f"ROS_DOMAIN_ID={domain}: expected a ROS domain from 0 to 232" in done.stderr
    assert "Traceback" not in done.stderr
