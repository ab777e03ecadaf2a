"""One robot of the bench, reached over ssh as an operator reaches a real one.

The body that it would have is the simulator, as a unit.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from tests.fakes.ros import wait_until
from tests.testbed.bench import containers
from tests.testbed.console import Console

HOST_KEY_ALIAS = "homeport-bench"
TRACE = "/tmp/trace.jsonl"
ENGINE = ("docker.service", "containerd.service")
LOGS = ("homeport-agent", "homeport-supervisor", "homeport-slot@a", "homeport-slot@b", "bench-base")
BODY = """\
[Unit]
Description=The simulated body of this bench robot
Wants=docker.service
After=docker.service
StartLimitIntervalSec=0

[Service]
ExecStartPre=-/usr/bin/docker rm --force bench-base
ExecStart=/usr/bin/docker run --rm --name bench-base --pull never --network host --read-only --tmpfs /tmp \\
    --cap-drop ALL --env ROS_DOMAIN_ID={domain} --no-healthcheck {image} \\
    stack.sim --seed {seed} --respawn red --trace {trace}
ExecStop=/usr/bin/docker stop -t 2 bench-base
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
# The units that want Docker would start it again while its store is emptied.
EMPTY_STORE = """
systemctl mask --runtime --quiet docker.socket docker.service
systemctl stop docker.socket docker.service containerd.service
sed -n 's|^[^ ]* \\(/var/lib/docker/[^ ]*\\) .*|\\1|p' /proc/mounts | xargs -r umount -l
find /var/lib/docker /var/lib/containerd -mindepth 1 -delete
test -z "$(ls /var/lib/docker)"
systemctl unmask --runtime --quiet docker.socket docker.service
systemctl start docker.service
"""
# Copies of images stay on the robot's own disk: they would fill this machine's memory.
# A disk of its own for one robot's state, whose size can be changed while it is in use; the agent's unit sees mounts
# that were there when it started.
DISK = """
systemctl stop homeport-agent
mkdir -p /var/lib/homeport/images
mv /var/lib/homeport/images /var/lib/images
mount -t tmpfs -o size=2g,mode=0755 tmpfs /mnt
cp -a /var/lib/homeport/. /mnt/
mkdir /mnt/images
mount --bind /var/lib/images /mnt/images
mount --rbind /mnt /var/lib/homeport
systemctl start homeport-agent
"""


def ssh_settings(secrets: Path) -> dict[str, str]:
    """How ssh trusts a bench robot without a question: its host key is known by an alias, as its port changes."""
    return {
        "HostKeyAlias": HOST_KEY_ALIAS,
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(secrets / "known_hosts"),
    }


def ssh_options(secrets: Path) -> list[str]:
    """The same for a command line."""
    return [item for key, value in ssh_settings(secrets).items() for item in ("-o", f"{key}={value}")]


@dataclass(frozen=True)
class Robot(Console):
    """A running container."""

    name: str
    container: Container
    secrets: Path
    domain: int

    @property
    def port(self) -> int:
        return containers.published_port(self.container, 22)

    def ssh_argv(self, *command: str) -> list[str]:
        """A command on the robot, as its operator."""
        known = ["-q", "-i", str(self.secrets / "operator"), "-p", str(self.port), *ssh_options(self.secrets)]
        return ["ssh", *known, "homeport@127.0.0.1", shlex.join(command)]

    def agent_argv(self, *arguments: str) -> list[str]:
        return self.ssh_argv("sudo", "/usr/local/bin/homeport-agent", *arguments)

    def ros_argv(self, *arguments: str) -> list[str]:
        python = ("/opt/homeport/bin/python", "-", *arguments)
        return self.ssh_argv("sudo", "docker", "exec", "-i", "bench-base", *python)

    def run(self, *argv: str) -> str:
        """Run a program as root, past ssh. Raises AssertionError with its output when it fails."""
        done = self.container.exec_run(list(argv))
        text = str(done.output.decode(errors="replace"))
        if done.exit_code:
            raise AssertionError(f"{self.name}: {shlex.join(argv)} ended with {done.exit_code}: {text}")
        return text

    def read(self, *argv: str) -> str:
        """What a program prints as root, over ssh.

        Of a long output docker-py loses what comes together with the head of the engine's reply.
        """
        done = subprocess.run(
            self.ssh_argv("sudo", *argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise AssertionError(f"{self.name}: {shlex.join(argv)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def booted(self) -> bool:
        """Whether systemd has started what it starts, its engine included."""
        state = self.container.exec_run(["systemctl", "is-system-running"]).output.decode().strip()
        return state in ("running", "degraded")

    def wait_booted(self) -> None:
        """Raises AssertionError naming the units that failed."""
        wait_until(self.booted, 60.0, f"{self.name} to boot")
        failed = self.run("systemctl", "list-units", "--failed", "--no-legend", "--plain")
        assert not failed.strip(), f"{self.name}: these units failed: {failed}"

    def give_body(self, image: str, seed: int) -> None:
        """Install the simulator as the robot's body and start it, unless it runs like that already."""
        unit = BODY.format(image=image, domain=self.domain, seed=seed, trace=TRACE).encode()
        containers.put(self.container, {"/etc/systemd/system/bench-base.service": (unit, 0o644, 0)})
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "enable", "--now", "bench-base.service")

    def speeds(self) -> list[float]:
        """True forward speeds of the last two seconds, in m/s."""
        return self.recent_speeds(self.run("docker", "exec", "bench-base", "tail", "-n", "11", TRACE))

    @staticmethod
    def recent_speeds(trace: str) -> list[float]:
        """Forward speeds in the last lines of the simulator's trace; the last line may not be whole."""
        return [abs(float(json.loads(line)["v"])) for line in trace.splitlines()[:-1]]

    def inspect(self, name: str) -> dict[str, Any]:
        """What the robot's own engine says of a container, or of an image."""
        return dict(json.loads(self.read("docker", "inspect", name))[0])

    def slots(self) -> list[dict[str, Any]]:
        """The same of the containers of the slots that run."""
        names = self.run("docker", "ps", "--format", "{{.Names}}", "--filter", "name=homeport-slot-").split()
        return [self.inspect(name) for name in names]

    def give_disk(self) -> None:
        """A small disk for its state, mounted at /mnt as well, until its power is cut."""
        self.run("sh", "-ec", DISK)

    def lose_images(self) -> float:
        """Empty the store of its Docker, as a power cut can, and start that again.

        Returns when it was up (monotonic s).
        """
        self.run("sh", "-ec", EMPTY_STORE)
        return time.monotonic()

    def freeze_docker(self) -> None:
        """Its Docker takes requests and answers none, as on a machine whose disk or kernel hangs."""
        self.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", *ENGINE)

    def thaw_docker(self) -> None:
        """It answers again, whether it was started again meanwhile or not."""
        self.run("systemctl", "kill", "--signal=CONT", "--kill-who=main", *ENGINE)

    def freeze(self) -> None:
        """All of it stands still, and its network card still answers."""
        self.container.pause()

    def thaw(self) -> None:
        """It goes on."""
        self.container.reload()
        if self.container.status == "paused":
            self.container.unpause()

    def off(self) -> None:
        self.container.stop(timeout=10)

    def on(self) -> None:
        """Power on and wait until agent and supervisor answer."""
        self.container.start()
        self.container.reload()
        self.wait_booted()
        wait_until(self.answers, 60.0, f"{self.name}'s agent and supervisor")

    def logs(self, lines: int = 60) -> str:
        """The newest lines of everything of ours on it."""
        return self.journal(lines, LOGS)

    def journal(self, lines: int, names: tuple[str, ...]) -> str:
        """The newest lines of some units."""
        units = [item for unit in names for item in ("-u", unit)]
        argv = ["journalctl", "--no-pager", "-o", "short-monotonic", "-n", str(lines), *units]
        self.container.reload()
        if self.container.status != "running":
            return f"it is {self.container.status}"
        return str(self.container.exec_run(argv).output.decode(errors="replace"))
