"""A fleet as its operator has it before him: what he types, what he is told, and what each robot says of itself.

    fleet = Fleet(bench)
    fleet.prepare()
    fleet.deploy("1.1.0")

Cases of `fleet_cases` note in an `Outcome` what is not as it should be.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.ros import REPOSITORY, wait_until
from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.robot import Robot
from tests.testbed.console import busy

OLD, NEW = "1.0.0", "1.1.0"
_NAMED = re.compile(r"\((systemctl [a-z0-9 .-]+)\)")
"""The command in a message that says what to do on the robot."""
_TRIES = 3
_COMES_S = 400.0
Done = subprocess.CompletedProcess[str]
Versions = dict[str, tuple[str | None, str | None]]


@dataclass
class Outcome:
    """What one case gave: what was not as it should be, and figures with their units in their names."""

    case: str
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.wrong

    def expect(self, met: object, what: str) -> None:
        """Note what is not as it should be."""
        if not met:
            self.wrong.append(what)

    @contextmanager
    def seconds(self, name: str) -> Iterator[None]:
        """Note how long the block took."""
        began = time.monotonic()
        yield
        self.figures[name] = round(time.monotonic() - began, 1)


class Fleet:
    """The robots of a bench by the part that they play, and what an operator does with them.

    The first is the canary. The last but one has a disk of its own that can be filled, and the last one freezes.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.robots = bench.robots
        self.canary, self.other, *_ = self.robots
        *_, self.full, self.frozen = self.robots

    def prepare(self) -> None:
        """Every robot runs the old release."""
        self.robots[self.full].give_disk()
        self.bench.deploy(OLD)

    def start_at(self, version: str) -> None:
        """Bring every robot to OLD or NEW, where it is not there."""
        if set(self.versions().values()) == {(version, version)}:
            return
        target = {"TO": self.bench.releases[version]}
        back = version == OLD
        done = (
            self.until_done(lambda **_: self.bench.make("rollback", **target)) if back else self.until_done(self.deploy)
        )
        assert done.returncode == 0, f"the fleet could not be brought to {version}: {last_words(self, done)}"

    def deploy(self, version: str = NEW, **variables: str) -> Done:
        """`make deploy` of this version."""
        return self.bench.make("deploy", RELEASE=self.bench.releases[version], **variables)

    def until_done(self, run: Callable[..., Done]) -> Done:
        """A change that is to come to its end: once more with RETRY=1 where this machine was too busy for a robot."""
        done = run()
        for _ in range(_TRIES - 1):
            why = None if done.returncode == 0 else busy(self.bench.report())
            if why is None:
                break
            self.bench.say(f"Once more, since this machine was busy: {why}")
            done = run(RETRY="1")
        return done

    @contextmanager
    def deploying(self, person: str, seen: Callable[[], bool], what: str) -> Iterator[subprocess.Popen[bytes]]:
        """`make deploy RETRY=1` of NEW by this person, which has come to where `seen` is true; killed at the end.

        A run that a busy machine has ended before is begun again. Raises AssertionError when it does not come there.
        """
        for _ in range(_TRIES):
            run = self._begin_deploy(person)
            try:
                if wait_until(lambda run=run: seen() or run.poll() is not None, _COMES_S, what) and run.poll() is None:
                    yield run
                    return
            finally:
                kill_group(run)
            self.start_at(OLD)
        raise AssertionError(f"{what}: {_TRIES} runs have ended before; the last one: {self.bench.report()['summary']}")

    def _begin_deploy(self, person: str) -> subprocess.Popen[bytes]:
        argv = self.bench.make_argv("deploy", RELEASE=self.bench.releases[NEW], RETRY="1")
        with (self.bench.folder / "ansible.log").open("ab") as log:
            log.write(f"$ {' '.join(argv)} (by {person})\n".encode())
            log.flush()
            return subprocess.Popen(
                argv,
                cwd=REPOSITORY,
                env=self.environment(person),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def environment(self, person: str) -> dict[str, str]:
        """The environment of somebody who is logged in on the controller under this name."""
        own = {key: value for key, value in self.bench.make_environment().items() if key != "SUDO_USER"}
        return {**own, "LOGNAME": person}

    def type(self, command: str, person: str = "root") -> Done:
        """Type a command that a message has named."""
        argv = ["nice", "-n", "10", *shlex.split(command)]
        environment = self.environment(person)
        done = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)
        with (self.bench.folder / "ansible.log").open("a") as log:
            log.write(f"$ {command} (by {person})\n{done.stdout}{done.stderr}\n")
        return done

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What each robot says of itself; nothing from one that does not answer."""

        def ask(robot: Robot) -> dict[str, Any]:
            with suppress(ValueError, subprocess.TimeoutExpired):
                return robot.agent("status", check_code=False, timeout_s=20.0)
            return {}

        with ThreadPoolExecutor(len(self.robots)) as pool:
            return dict(zip(self.robots, pool.map(ask, self.robots.values()), strict=True))

    def versions(self) -> Versions:
        """What drives each robot, and what it has committed."""
        return {
            name: (version_of(status, "running"), version_of(status, "current"))
            for name, status in self.statuses().items()
        }

    def stages(self) -> dict[str, str | None]:
        """What each robot is in."""
        return {name: status.get("stage") for name, status in self.statuses().items()}

    def resize(self, size: str) -> None:
        """How large the disk of `full` is."""
        self.robots[self.full].run("mount", "-o", f"remount,size={size}", "/mnt")

    def history(self, *words: str) -> str:
        """What `homeport fleet history` prints."""
        argv = [sys.executable, "-m", "stack.cli", "fleet", "history", str(self.bench.inventory), *words]
        done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def settings(self, hosts: Mapping[str, Mapping[str, object]] | None = None, **shared: object) -> Iterator[None]:
        """Variables in the inventory, for all robots and for single ones, until the end of the block."""
        paths = (self.bench.inventory / "group_vars" / "robots.yml", self.bench.inventory / "hosts.yml")
        before = [path.read_text() for path in paths]
        group, inventory = map(json.loads, before)
        for name, variables in (hosts or {}).items():
            inventory["robots"]["hosts"][name].update(variables)
        for path, document in zip(paths, ({**group, **shared}, inventory), strict=True):
            path.write_text(json.dumps(document, indent=2))
        try:
            yield
        finally:
            for path, text in zip(paths, before, strict=True):
                path.write_text(text)


def version_of(status: Mapping[str, Any], name: str) -> str | None:
    """The version of one of the releases in a status."""
    release = status.get(name)
    return str(release["version"]) if release else None


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to make, ansible-playbook and all that they have started, as a controller's power cut."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def follow(robot: Robot, message: str) -> str | None:
    """Do on a robot what a message says to do there; why that could not be."""
    found = _NAMED.search(message)
    if found is None:
        return f"{robot.name}: no command in: {message}"
    try:
        robot.run(*found[1].split())
    except AssertionError as error:
        return str(error)
    return None


def last_words(fleet: Fleet, done: Done) -> str:
    """How a run ended, in the words of its report where it wrote one."""
    if fleet.bench.report_file.exists():
        return str(fleet.bench.report()["summary"])
    return done.stdout[-2000:] + done.stderr[-2000:]


def expect_named(outcome: Outcome, done: Done, report: Mapping[str, Any], name: str, words: str) -> str:
    """A robot that failed is in report and table, with these words of why or of the next step. Returns its message."""
    failure = report["hosts"][name]["failure"] or {}
    message = str(failure.get("message"))
    outcome.expect(words in message, f"{name}: no '{words}' in: {message}")
    rows = [line for line in done.stdout.splitlines() if line.strip().startswith(f"{name} ") and words in line]
    outcome.expect(rows, f"{name}: no row of the table says '{words}'")
    return message


def expect_offline(outcome: Outcome, report: Mapping[str, Any]) -> None:
    """Nobody has fetched anything."""
    fetched = {name: host["bytes_fetched"] for name, host in report["hosts"].items()}
    outcome.expect(not any(fetched.values()), f"bytes were fetched: {fetched}")


def expect_history(fleet: Fleet, outcome: Outcome, kind: str, read: Callable[[], Versions] | None = None) -> None:
    """The last record has the report of the run, in full and for people, and says what each robot says of itself."""
    record = json.loads(fleet.history("last", "--json"))
    report, text = fleet.bench.report(), fleet.history("last")
    outcome.expect(record["kind"] == kind, f"the last record is of a {record['kind']}, not of a {kind}")
    told = (record["outcome"] or {}).get("hosts")
    outcome.expect(told == report["hosts"], "the record is not the report")
    for name, (running, _) in (read or fleet.versions)().items():
        host = report["hosts"][name]
        seen = version_of(host, "running")
        outcome.expect(seen in (running, None), f"{name}: the record says {seen}, and it runs {running}")
        failure = host["failure"]
        outcome.expect(host["ok"] or failure or host.get("story"), f"{name}: the record does not say why not")
        if failure:
            outcome.expect(failure["message"] in text, f"{name}: history does not print its failure")
