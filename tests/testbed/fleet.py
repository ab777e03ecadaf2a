"""A fleet of simulated robots as local processes: real ROS 2 topics, real supervisors and agents, each robot in its own
domain.

    with Fleet(folder, ("alder", "birch")) as fleet:
        fleet.playbook("bootstrap")
        fleet.power_on()
        fleet["alder"].agent("status")

The demo, the integration tests and the benches share it. Leaving the block stops everything that was started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from model_registry.core.layout import Layout
from stack.sim.scene import ROBOT_RADIUS_M
from tests.fakes.robot import remove_run_folder
from tests.fakes.ros import Process, allocate_domain_id, ros_env, wait_until
from tests.fakes.schemas import check
from tests.testbed.console import Console, run_playbook
from tests.testbed.registry import LOCK, Published
from tests.testbed.ticks import read

REPOSITORY = Path(__file__).parents[2]
TAIL_BYTES = 16_384


class Robot(Console):
    """One simulated robot: base with sensors, supervisor, agent, and an independent listener beside it."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.root = folder / name
        self.layout = Layout.at(self.root)
        self.domain = allocate_domain_id()
        self.environment = ros_env(self.root, self.domain)
        self.trace = folder / f"{name}-trace.jsonl"
        self.heard = folder / f"{name}-heard.jsonl"
        self._logs = folder
        self._processes: dict[str, Process] = {}

    @property
    def agent_file(self) -> Path:
        return self.root / "bin" / "homeport-agent"

    def agent_argv(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.agent_file), "--root", str(self.root), *arguments]

    def ros_argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-", *arguments]

    def ros_environment(self) -> dict[str, str]:
        return self.environment

    def start(self, part: str, argv: Sequence[str]) -> None:
        """Start one long-running part of the robot. A body does not wait for the computer that it carries."""
        process = Process(argv, self.environment, self._logs / f"{self.name}-{part}.log", urgent=part == "sim")
        self._processes[part] = process.__enter__()

    def part(self, part: str) -> Process:
        """One part that was started."""
        return self._processes[part]

    def stop(self, part: str) -> None:
        """End one part, if it was started."""
        if part in self._processes:
            self._processes.pop(part).__exit__(None, None, None)

    def start_body(self, *options: str) -> None:
        """Start the simulated base and its sensors."""
        argv = ["-m", "stack.sim", "--seed", str(self.seed), "--trace", str(self.trace), *options]
        self.start("sim", [sys.executable, *argv])

    def power_on(self, *body: str, target: str = "red", respawn: bool = True) -> None:
        """Start base, listener, supervisor and agent, and wait until the agent answers.

        `body` are more options of the base.
        """
        python = sys.executable
        self.start_body(*body, *(("--respawn", target) if respawn else ()))
        self.start("listener", [python, str(Path(__file__).with_name("listener.py")), str(self.heard)])
        self.start("supervisor", [python, "-m", "stack.supervisor", "--root", str(self.root)])
        self.start("agent", self.agent_argv("serve"))
        wait_until(self.answers, 30.0, f"{self.name}'s agent and supervisor")

    def answers(self) -> bool:
        return self.layout.agent_socket.exists() and super().answers()

    def records(self) -> list[dict[str, Any]]:
        """What the listener heard so far."""
        return read(self.heard)

    def speed(self) -> float:
        """The newest measured forward speed in m/s."""
        with self.heard.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            tail = file.read().decode().splitlines()[1:]
        odometry = [json.loads(line) for line in tail if '"odom"' in line and line.endswith("}")]
        return abs(odometry[-1]["v"]) if odometry else 0.0

    def speeds(self) -> list[float]:
        return [self.speed()]

    def journal(self) -> list[dict[str, Any]]:
        """The agent's journal; every record is checked against its schema."""
        records = read(self.layout.journal) if self.layout.journal.exists() else []
        for record in records:
            check(record, "journal")
        return records

    def power_off(self) -> None:
        """Stop everything of this robot: also the slots, which outlive their agent."""
        for part in ("agent", "slot", "supervisor", "listener", "sim"):
            self.stop(part)
        for slot in "ab":
            stop_slot(self.layout, slot)
        remove_run_folder(self.root)


def stop_slot(layout: Layout, slot: str) -> None:
    """End the process of a slot that this robot started, by the identity in its status file."""
    try:
        status = json.loads(layout.slot_status(slot).read_text())
        stat = Path(f"/proc/{status['pid']}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError, KeyError):
        return
    if int(stat[19]) == status["start_ticks"]:
        os.kill(status["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 3.0
        while Path(f"/proc/{status['pid']}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


class Fleet:
    """Several robots, their inventory, and `ansible-playbook` as an operator runs it."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.robots = [Robot(name, folder, seed) for seed, name in enumerate(names, start=11)]
        self.inventory = folder / "inventory.json"

    def __getitem__(self, name: str) -> Robot:
        return next(robot for robot in self.robots if robot.name == name)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.power_off()
        except AssertionError:
            if error is None:  # else what failed first is told
                raise

    def power_off(self) -> None:
        """Switch every robot off, each by itself. Raises AssertionError naming those that could not be."""
        failed = []
        for robot in self.robots:
            try:
                robot.power_off()
            except Exception as problem:  # the others are switched off all the same
                failed.append(f"{robot.name}: {problem!r}")
        if failed:
            raise AssertionError(f"not everything was stopped: {'; '.join(failed)}")

    def power_on(self, *body: str, respawn: bool = True) -> None:
        for robot in self.robots:
            robot.power_on(*body, respawn=respawn)

    def write_inventory(self, published: Published, agent_file: Path, **variables: object) -> None:
        """One group `robots`, every host local, wired to a registry. `variables` hold for all."""
        hosts = {
            robot.name: {
                "homeport_root": str(robot.root),
                "homeport_agent": str(robot.agent_file),
                "homeport_name": robot.name,
                "homeport_domain_id": robot.domain,
            }
            for robot in self.robots
        }
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "homeport_site": "lab",
            "homeport_row": "process",
            "homeport_embodiment": "mobile_base",
            "homeport_footprint": {"radius": ROBOT_RADIUS_M},
            "homeport_source": published.source,
            "homeport_repository": "releases/pilot",
            "homeport_public_keys": [str(path) for path in published.keys.glob("*.pub")],
            "homeport_agent_file": str(agent_file),
            "homeport_environment": str(Path(sys.executable).parents[1]),
            "homeport_lock": str(LOCK),
            "homeport_device_python": sys.executable,
            **variables,
        }
        document = {"robots": {"hosts": hosts, "vars": shared}}
        self.inventory.write_text(json.dumps(document, indent=2) + "\n")

    def playbook(self, name: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the collection over the inventory; what it printed goes to a log file as well."""
        # Ansible's scratch files on the robots, which are this machine, stay below the folder too.
        remote = {"ansible_remote_tmp": str(self.folder / "ansible")}
        return run_playbook(name, self.inventory, self.folder, **remote, **variables)
