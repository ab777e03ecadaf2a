"""Robots without Docker, and the person who puts Homeport on them with the commands of the README.

    bench = PlainBench("homeport-plain", engine, print)
    bench.up({"bay-1": "bookworm"})
    bench.person.run("make help")
    bench.down()

The robots are containers with systemd, sshd and a Python, in a network that leads nowhere: they reach no package index.
The person is a shell of this machine with a home of its own, whose ssh knows the robots by name. The folder `registry`
in that home is seen by every robot at the same path.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.ros import REPOSITORY, wait_until
from tests.testbed.bench import containers, image, secrets
from tests.testbed.bench.robot import HOST_KEY_ALIAS, Robot
from tests.testbed.console import BESIDE
from tests.testbed.engine import Engine

# Units have a /tmp of their own, and people's homes may be closed: here every account of a robot sees the registry.
HOMES = Path("/dev/shm")
FIRST_DOMAIN = 31
UNITS = ("homeport-recovery", "homeport-agent", "homeport-supervisor", "homeport-monitor", "base")
TRACE = "/tmp/trace.jsonl"
# What a robot's own drivers would be: a program of another account, with the environment of every ROS process.
BODY = """\
[Unit]
Description=The simulated body of this robot

[Service]
User={login}
Environment={environment}
ExecStart={python} -m stack.sim --seed {domain} --respawn red --trace {trace}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Person:
    """Who types the commands: a home, and an ssh that reads its settings from there."""

    home: Path

    def settle(self, robots: Mapping[str, str], keys: Path) -> None:
        """Write what ssh knows of the robots (name → address), and put that ssh first on the PATH.

        ssh itself takes the home of the account and not HOME.
        """
        folder = self.home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        shared = {
            "User": image.PLAIN_LOGIN,
            "IdentityFile": keys / "operator",
            "IdentitiesOnly": "yes",
            "HostKeyAlias": HOST_KEY_ALIAS,
            "UserKnownHostsFile": keys / "known_hosts",
        }
        hosts = [f"Host {name}\n    HostName {address}\n" for name, address in robots.items()]
        lines = "".join(f"    {key} {value}\n" for key, value in shared.items())
        (folder / "config").write_text(f"{''.join(hosts)}Host *\n{lines}")
        program = self.home / "bin" / "ssh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n')
        program.chmod(0o755)

    def environment(self) -> dict[str, str]:
        """The environment of this person's shell."""
        return {
            **os.environ,
            "HOME": str(self.home),
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
        }

    def run(self, command: str, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Type a command in the checkout; what came of it goes to `typed.log` in the home as well."""
        done = subprocess.run(
            [*BESIDE, "bash", "-c", command],
            cwd=REPOSITORY,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        with self.log.open("a") as log:
            log.write(f"$ {command}\n{done.stdout}{done.stderr}[{done.returncode}]\n")
        return done

    @property
    def log(self) -> Path:
        return self.home / "typed.log"


@dataclass(frozen=True)
class PlainRobot(Robot):
    """A robot of plain processes, reached by the name that the person's ssh knows."""

    person: Person

    @property
    def address(self) -> str:
        """Where it is in the bench's network; another one after each power cut, maybe."""
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def ssh_argv(self, *command: str) -> list[str]:
        return [str(self.person.home / "bin" / "ssh"), self.name, shlex.join(command)]

    def ros_argv(self, *arguments: str) -> list[str]:
        return self.ssh_argv("env", *self._ros_settings(), self._python(), "-", *arguments)

    def _python(self) -> str:
        return self._only("/var/lib/homeport/envs/*/bin/python3")

    def _only(self, pattern: str) -> str:
        """The one path on the robot that matches."""
        [found] = self.run("sh", "-c", f"ls -d {pattern}").split()
        return found

    def _ros_settings(self) -> tuple[str, ...]:
        """The environment of every ROS process (docs/interfaces.md), and where the simulator is."""
        return (
            f"ROS_DOMAIN_ID={self.domain}",
            "RMW_IMPLEMENTATION=rmw_fastrtps_cpp",
            "FASTRTPS_DEFAULT_PROFILES_FILE=/etc/homeport/dds.xml",
            "ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
            f"PYTHONPATH={self._only('/var/lib/homeport/device/*/')}",
        )

    def booted(self) -> bool:
        return (
            super().booted() and self.container.exec_run(["test", "-S", "/run/dbus/system_bus_socket"]).exit_code == 0
        )

    def give_driver(self) -> None:
        """Install the simulated body with the robot's own Python and start it, now and at every boot."""
        environment = " ".join(self._ros_settings())
        facts = {"login": image.PLAIN_LOGIN, "python": self._python(), "domain": self.domain, "trace": TRACE}
        unit = BODY.format(environment=environment, **facts).encode()
        containers.put(self.container, {"/etc/systemd/system/base.service": (unit, 0o644, 0)})
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "enable", "--quiet", "--now", "base.service")

    def speeds(self) -> list[float]:
        return self.recent_speeds(self.run("tail", "-n", "11", TRACE))

    def logs(self, lines: int = 60) -> str:
        return self.journal(lines, UNITS)


class PlainBench:
    """The robots, their keys and the person; `engine` is not stopped."""

    def __init__(self, name: str, engine: Engine, say: Callable[[str], None]) -> None:
        self.name = name
        self.person = Person(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=HOMES)))
        self.robots: dict[str, PlainRobot] = {}
        self._client = engine.client
        self._say = say

    @property
    def keys(self) -> Path:
        return self.person.home / "keys-of-the-bench"

    @property
    def registry(self) -> Path:
        """The folder that robots see at the same path."""
        return self.person.home / "registry"

    def up(self, suites: Mapping[str, str]) -> None:
        """Robots by name, each with a release of Debian. Raises AssertionError naming what does not start."""
        containers.remove_forsaken(self._client, self.name, self._say)
        containers.remove(self._client, self.name)
        self.keys.mkdir()
        self.registry.mkdir()
        self.person.home.chmod(0o755)
        secrets.write(self.keys)
        containers.network(self._client, self.name, internal=True)
        for number, (name, suite) in enumerate(suites.items()):
            built = image.plain(suite).ensure(self._client, self._say)
            container = containers.plain_robot(
                self._client, self.name, name, built, self.keys, image.PLAIN_LOGIN, self.registry
            )
            self.robots[name] = PlainRobot(name, container, self.keys, FIRST_DOMAIN + number, self.person)
        self.know_addresses()
        for robot in self.robots.values():
            robot.wait_booted()

    def know_addresses(self) -> None:
        """Tell the person's ssh where the robots are now."""
        self.person.settle({robot.name: robot.address for robot in self.robots.values()}, self.keys)

    def cut_power(self, robot: PlainRobot) -> None:
        """Take the power from a robot in the middle of whatever it does, and give it back; ends when it has booted."""
        robot.container.kill("SIGKILL")
        robot.container.start()
        self.know_addresses()
        robot.wait_booted()
        wait_until(robot.answers, 60.0, f"{robot.name}'s agent and supervisor")

    def down(self) -> None:
        """Remove everything. Raises AssertionError naming what is left."""
        containers.remove(self._client, self.name)
        shutil.rmtree(self.person.home, ignore_errors=True)
