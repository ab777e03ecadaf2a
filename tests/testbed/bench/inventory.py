"""The inventory of a bench, as a person would write one: hosts.yml and what the group `robots` shares."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from stack.sim.scene import ROBOT_RADIUS_M
from tests.testbed.bench.containers import REGISTRY_PORT
from tests.testbed.bench.robot import Robot, ssh_options
from tests.testbed.bench.secrets import REGISTRY_HOST

REGISTRY = f"{REGISTRY_HOST}:{REGISTRY_PORT}"
PROBATION_S = 4


def device_image(digest: str) -> str:
    """The stack's image as robots name it."""
    return f"{REGISTRY}/homeport/stack@{digest}"


def write(
    folder: Path, robots: Iterable[Robot], secrets: Path, agent: Path, digest: str, controller_source: str
) -> None:
    """Write hosts.yml and group_vars/robots.yml (JSON is YAML)."""
    hosts = {robot.name: {"ansible_port": robot.port, "homeport_domain_id": robot.domain} for robot in robots}
    shared = {
        "ansible_host": "127.0.0.1",
        "ansible_user": "homeport",
        "ansible_become": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(secrets / "operator"),
        "ansible_ssh_common_args": shlex.join(ssh_options(secrets)),
        "homeport_site": "bench",
        "homeport_row": "cpu",
        "homeport_embodiment": "mobile_base",
        "homeport_footprint": {"radius": ROBOT_RADIUS_M},
        "homeport_runtime": "docker",
        "homeport_device_image": device_image(digest),
        "homeport_registry_ca": str(secrets / "ca.crt"),
        "homeport_source": f"https://{REGISTRY}",
        "homeport_repository": "releases/pilot",
        "homeport_public_keys": [str(path) for path in (secrets / "release").glob("*.pub")],
        "homeport_controller_source": controller_source,
        "homeport_controller_keys": str(secrets / "release"),
        "homeport_agent_file": str(agent),
        # A container may not change its kernel. The simulated camera is small enough for the usual buffers.
        "homeport_sysctl": False,
        # Nobody stands in the simulated room: releases change while robots drive, and prove themselves in seconds.
        "homeport_gate": "moving",
        "homeport_probation_s": PROBATION_S,
        "homeport_report": str(folder.parent / "report.json"),
    }
    (folder / "group_vars").mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text(json.dumps({"robots": {"hosts": hosts}}, indent=2) + "\n")
    (folder / "group_vars" / "robots.yml").write_text(json.dumps(shared, indent=2) + "\n")
