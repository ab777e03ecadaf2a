"""What a person does with a robot and a fleet, wherever they run: the agent's verbs, a voice command, arming, a
playbook.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from tests.fakes.ros import REPOSITORY, wait_until

SAY = Path(__file__).with_name("say.py")
REARM_S = 8.0
# A controller is another machine than its robots. Where they share one, it must not take the processor from their
# control loops.
BESIDE = ("nice", "-n", "10")
# How a change ends on a machine that was too busy for it: robots that share two cores are silent for 0.1 s now and
# then, and that is refused.
BUSY_METRICS = frozenset({
    "silence_ms", "stall_ms", "observation_age_ms", "inference_p99_ms", "cadence_ms", "latency_rise", "control_hz",
    "missed_rate", "healthy_s",
    "driver_missed_rate", "status", "ready", "selectable", "commit",
})  # fmt: skip
BUSY_WORDS = ("its probation has ended", "not on probation here")


class Console(ABC):
    """One robot as its operator sees it; who derives from it says how commands get there."""

    name: str

    @abstractmethod
    def agent_argv(self, *arguments: str) -> list[str]:
        """The command line of `homeport-agent` on this robot."""

    @abstractmethod
    def ros_argv(self, *arguments: str) -> list[str]:
        """A Python with the robot's topics that reads its program from stdin."""

    @abstractmethod
    def speeds(self) -> list[float]:
        """Measured forward speeds of late, in m/s."""

    def ros_environment(self) -> dict[str, str] | None:
        """The environment of that command here."""
        return None

    def agent(self, *arguments: str, check_code: bool = True, timeout_s: float = 180.0) -> dict[str, Any]:
        """Run `homeport-agent --json …` as an operator would. Raises AssertionError with its output when it fails."""
        argv = self.agent_argv("--json", *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
        if check_code and done.returncode:
            raise AssertionError(
                f"{self.name}: {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        document = json.loads(done.stdout) if done.stdout.strip() else {}
        return {**document.get("result", {}), "error": document.get("error"), "exit_code": done.returncode}

    def answers(self) -> bool:
        """Whether the agent answers and hears its supervisor."""
        return self.agent("status", check_code=False).get("supervisor") is not None

    def say(self, text: str) -> None:
        """Give a voice command."""
        argv = self.ros_argv(text)
        done = subprocess.run(
            argv, input=SAY.read_text(), env=self.ros_environment(), capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise AssertionError(f"{self.name} did not accept the command {text!r}: {done.stderr}")

    def arm(self, deadline_s: float = 20.0) -> None:
        """Arm the supervisor as an operator; nothing drives before."""
        reply: dict[str, Any] = {}

        def armed() -> bool:
            reply.update(self.agent("arm", check_code=False))
            return reply["exit_code"] == 0

        try:
            wait_until(armed, deadline_s, f"{self.name} to be armed")
        except AssertionError as error:
            raise AssertionError(f"{error}: {reply}") from error

    def wait_driving(self, speed: float, deadline_s: float = 40.0) -> None:
        """Wait until it drives faster than `speed` (m/s), and arm it again every 8 s until it does: a busy machine
        stops robots, and says so.
        """
        pause, since = threading.Event(), [time.monotonic()]

        def driven() -> bool:
            pause.wait(0.5)  # every look takes time from the control loops
            if any(each >= speed for each in self.speeds()):
                return True
            if time.monotonic() - since[0] > REARM_S:
                since[0] = time.monotonic()
                self.agent("arm", check_code=False)
            return False

        wait_until(driven, deadline_s, f"{self.name} to drive")


def busy(report: dict[str, Any]) -> str | None:
    """The failure in a rollout's report that a busy machine explains, if there is one; such a rollout is worth another
    try.
    """
    for host in report.get("hosts", {}).values():
        failure = host["failure"]
        if failure and (failure["metric"] in BUSY_METRICS or any(word in failure["message"] for word in BUSY_WORDS)):
            return str(failure["message"])
    return None


def run_playbook(
    name: str, inventory: Path, folder: Path, *options: str, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection; what it printed goes to `folder`/ansible.log as well."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible" / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_NOCOLOR": "1",
    }
    argv = [*BESIDE, str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), *options]
    argv += [str(REPOSITORY / "ansible" / "playbooks" / f"{name}.yml"), "-e", json.dumps(variables)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    with (folder / "ansible.log").open("a") as log:
        log.write(f"$ {name}.yml {json.dumps(variables)}\n{done.stdout}{done.stderr}\n")
    return done
