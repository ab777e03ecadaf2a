"""The fault matrix on bench robots.

The edges of tests/testbed/scenarios.py × what a machine can suffer, with systemd, containers and a registry.

    range = Range(bench, bench.robots["alder"])
    outcome = range.play(Point("switch", "SWITCH:done", "power_cut_before"))

`strike.py` lets the fault happen, on the robot. A power cut is a SIGKILL for everything on it; it drops nothing that
was written and not synced, which only the stand-in can play. Nobody arms these robots, so that a robot that is armed
afterwards was armed by its agent.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.agent.supervisor import OWNER
from tests.fakes.ros import wait_until
from tests.testbed.bench import strike
from tests.testbed.bench.fleet import Bench
from tests.testbed.bench.robot import Robot
from tests.testbed.scenarios import SCENARIOS, Point

FAULTS = {
    "kill_before": ("kill", "before"),
    "kill_after": ("kill", "after"),
    "power_cut_before": ("power_cut", "before"),
    "power_cut_after": ("power_cut", "after"),
    "docker_killed": ("docker_killed", "after"),
    "docker_stopped": ("docker_stopped", "after"),
    "source_cut": ("source_cut", "after"),
    "disk_full": ("disk_full", "before"),
}
"""What `strike.py` does, and on which side of the record."""
CHOSEN = {
    "power_cut_before": {
        "stage": ("STAGE:done",),
        "switch": ("SWITCH:done", "COMMIT:done"),
        "bad": ("VERIFY_ROLLBACK:done",),
        "rollback": ("COMMIT:done",),
    },
    "power_cut_after": {
        "stage": ("BUILD:intent",),
        "switch": ("WAIT:intent", "PROBATION:done", "COMMIT:intent", "COMMIT:done"),
        "bad": ("ROLLBACK:intent",),
        "rollback": ("SWITCH:done",),
    },
    "docker_killed": {
        "stage": ("BUILD:intent",),
        "switch": ("WAIT:intent", "PROBATION:intent"),
        "bad": ("ROLLBACK:intent",),
        "rollback": ("SWITCH:done",),
    },
    "docker_stopped": {
        "stage": ("FETCH:intent",),
        "switch": ("WAIT:intent", "COMMIT:intent"),
        "bad": ("ROLLBACK:intent",),
        "rollback": ("WAIT:intent",),
    },
    "source_cut": {
        "stage": ("FETCH:intent", "STAGE:intent", "BUILD:intent"),
        "switch": ("WAIT:intent", "COMMIT:intent"),
        "rollback": ("WAIT:intent",),
    },
    "disk_full": {
        "stage": ("FETCH:intent", "STAGE:intent", "BUILD:intent"),
        "switch": ("WAIT:intent", "COMMIT:intent"),
        "bad": ("ROLLBACK:intent",),
        "rollback": ("COMMIT:done",),
    },
}
"""At which edges what takes long is played."""
PLAYED = ("stage", "switch", "bad", "rollback")
"""What the stand-in plays besides starts from an empty robot, or asks for something in the middle of a change."""
WELL_S = 120.0
OLD = "1.0.0"
ROW_ARCH = "cpu/amd64"
PROBATION_S, COMMIT_S = 0.5, 2.0
_BEFORE_BACK = len(SCENARIOS["switch"].edges) - 2
"""Records that a switch writes before it goes back: those of COMMIT are not among them."""
ASK_SUPERVISOR = """
from pathlib import Path
from model_registry.core import lines
import json
print(json.dumps(lines.call(Path("/run/homeport/control/control.sock"), lines.request("status"), 5.0)))
"""
SHORT = """
grep -q '^\\[gate\\]' /etc/homeport/agent.toml || printf '\\n[gate]\\nshadow_s = 0.5\\n' >> /etc/homeport/agent.toml
systemctl restart homeport-agent
"""


def points() -> list[Point]:
    """All points, those of staging first.

    SIGKILL is at every edge, after a step was announced and when it is over and not yet noted.
    """

    def of(name: str) -> Iterator[Point]:
        for fault, edges in CHOSEN.items():
            yield from (Point(name, edge, fault) for edge in edges.get(name, ()))
        for edge in SCENARIOS[name].edges:
            yield Point(name, edge, "kill_after" if edge.endswith("intent") else "kill_before")

    return [point for name in PLAYED for point in of(name)]


@dataclass(frozen=True)
class Change:
    """What was asked for: the releases before it and after it went well."""

    point: Point
    start: str
    target: str

    @property
    def verb(self) -> list[str]:
        verbs = {
            "stage": ["stage", self.target],
            "switch": ["switch", self.target, "--probation", str(PROBATION_S)],
            "rollback": ["rollback", "--to", self.target],
        }
        unanswered = [*verbs["switch"], "--commit", "wait", "--deadline", str(COMMIT_S)]
        return verbs.get(self.point.scenario, unanswered)

    @property
    def number(self) -> int:
        """How many records it writes before that of its edge."""
        scenario = self.point.scenario
        return SCENARIOS[scenario].edges.index(self.point.edge) + (_BEFORE_BACK if scenario == "bad" else 0)

    @property
    def spec(self) -> str:
        fault, moment = FAULTS[self.point.fault]
        named = {"edge": self.point.edge, "number": self.number, "moment": moment, "fault": fault, "verb": self.verb}
        return json.dumps(named)

    def allowed(self, succeeded: bool | None) -> set[str]:
        """What may drive in the end.

        Nothing but a durable COMMIT makes it the target. None: what lasted was healed before the change had ended.
        """
        if self.point.scenario in ("stage", "bad"):
            return {self.start}
        if succeeded or self.point.edge == "COMMIT:done":
            return {self.target}
        ended = FAULTS[self.point.fault][0] in ("kill", "power_cut")
        either = not ended and (succeeded is None or self.point.edge == "COMMIT:intent")
        return {self.start, self.target} if either else {self.start}


@dataclass(frozen=True)
class Seen:
    """A robot after a point.

    Its agent's status, the records since the change began, its supervisor, and its slots' containers as Docker tells
    them.
    """

    status: dict[str, Any]
    records: list[dict[str, Any]]
    supervisor: dict[str, Any]
    containers: list[dict[str, Any]]
    images: dict[str, str]
    """Release → image ID, from the signed document."""


@dataclass
class Outcome:
    """What came of a point.

    `wrong` says what must not be, `ended` which release drives, `why` what the robot says of it.
    """

    point: Point
    fired: bool = False
    wrong: list[str] = field(default_factory=list)
    ended: str = "nothing"
    why: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.fired and not self.wrong


def faults(change: Change, seen: Seen, succeeded: bool | None) -> Iterator[str]:
    """What must not be, once the robot is well again."""
    status, running = seen.status, seen.status["running"]
    drives = running["digest"] if running else None
    if drives not in change.allowed(succeeded):
        yield f"{drives} drives, and only {' or '.join(sorted(change.allowed(succeeded)))} may"
    if running != status["current"]:
        yield "current names another release than the one that drives"
    selected = seen.supervisor["selected"] or {}
    if selected.get("release") != drives:
        yield f"the supervisor follows {selected.get('release')}"
    if seen.supervisor["armed"]:
        yield "the agent armed the robot"
    # What a rollback has commanded outlives an agent that is killed in it, until an operator gives it back
    # (docs/switching.md).
    owners = {holder["owner"] for holder in seen.supervisor["holders"]}
    if owners - ({OWNER} if change.point.scenario == "rollback" or status["restore_failure"] else set()):
        yield f"the robot is still held: {seen.supervisor['holders']}"
    yield from _other_containers(seen, drives)
    yield from _untold(change, seen, drives)


def _other_containers(seen: Seen, drives: str | None) -> Iterator[str]:
    if len(seen.containers) != 1:
        yield f"{len(seen.containers)} slots have a container"
    for container in seen.containers:
        if container["Image"] != seen.images.get(str(drives)):
            yield f"{container['Name']} runs the image {container['Image']}"
        if f"HOMEPORT_RELEASE={drives}" not in container["Config"]["Env"]:
            yield f"{container['Name']} was started for another release"


def _untold(change: Change, seen: Seen, drives: str | None) -> Iterator[str]:
    """What status and journal do not say, or say otherwise."""
    if not seen.records:
        if change.number or not change.point.fault.endswith("_before"):
            yield "the journal says nothing of the change"
        return
    last = seen.records[-1]
    if f"{last['stage']}:{last['phase']}" not in strike.CLOSING:
        yield f"the change is still open, at {last['stage']}:{last['phase']}"
    failure = last["detail"].get("failure")
    if last["stage"] == "FAILED":
        if not (failure and failure["message"]):
            yield "a failure without a word why"
        if failure != seen.status["failure"]:
            yield "status tells of another failure than the journal"
    if last["stage"] == "COMMIT" and last["release"] != drives:
        yield "the journal says that another release was committed"
    if last["stage"] == "FAILED" and change.target != change.start == drives and last["release"] != change.target:
        yield "the failure is about another release"


class Range:
    """Plays points on one robot, one after the other.

    Those of staging come first: what was committed once is not fetched again.
    """

    def __init__(self, bench: Bench, robot: Robot, own_disk: bool) -> None:
        self.robot, self._releases = robot, bench.releases
        self._own_disk, self._both = own_disk, False
        self._records: int | None = None

    def prepare(self) -> None:
        """The old release drives, gates are short, and nothing else is on it."""
        self.robot.run("sh", "-ec", SHORT)
        if self._own_disk:
            self.robot.give_disk()
        wait_until(self.robot.answers, WELL_S, f"{self.robot.name}'s agent")
        self._deploy(self._releases[OLD])

    def _deploy(self, digest: str) -> None:
        self.robot.agent("stage", digest)
        self.robot.agent("switch", digest, "--probation", str(PROBATION_S))

    def suits(self, point: Point) -> bool:
        """A disk in memory does not outlive a power cut, and this machine's own is not to be filled."""
        if self._both and point.scenario == "stage":
            return False
        return not point.fault.startswith("power_cut") if self._own_disk else point.fault != "disk_full"

    def play(self, point: Point) -> Outcome:
        """Once more, when the change came to another end before the fault could happen.

        A busy machine is silent for 0.1 s now and then.
        """
        for _ in range(3):
            outcome, began = Outcome(point), time.monotonic()
            try:
                self._play(outcome)
            except AssertionError as error:
                outcome.wrong.append(str(error))
            outcome.seconds = round(time.monotonic() - began, 1)
            if outcome.fired or outcome.wrong:
                break
        return outcome

    def _play(self, outcome: Outcome) -> None:
        change = self._ready(outcome.point)
        before = self._journal()
        if self._records not in (None, len(before)):
            outcome.wrong.append("the journal went on after the point before")
        answer = self._strike(change)
        outcome.fired = answer["fired"]
        self._wait_well()
        seen = self._look(change, len(before))
        outcome.wrong += faults(change, seen, None if (code := answer.get("exit_code")) is None else code == 0)
        if answer["fired"] == "power":
            outcome.wrong += self._boot_order()
        if seen.supervisor["held"]:
            self.robot.agent("unhold")
        outcome.ended = "new" if (seen.status["running"] or {}).get("digest") == change.target else "old"
        outcome.why = told(seen) if outcome.fired else str(answer.get("last_words"))
        self._records = len(before) + len(seen.records)

    def _ready(self, point: Point) -> Change:
        """Bring the robot to where the change starts.

        Any of the two releases drives; for staging the other one is not here.
        """
        status = self._wait_well()
        start = status["current"]["digest"]
        (target,) = set(self._releases.values()) - {start}
        here = [target in status["staged"], target in status["quarantined"]]
        if here[1]:
            self.robot.agent("stage", target, "--retry")
            here, self._records = [True, False], None
        if point.scenario == "stage":
            self.robot.agent("prune")
        elif not self._both:
            self._deploy(target)
            start, target, self._both, self._records = target, start, True, None
        elif not here[0]:
            self.robot.agent("stage", target)
            self._records = None
        return Change(point, start, target)

    def _strike(self, change: Change) -> dict[str, Any]:
        """What `strike.py` answers, or the edge at which the power went."""
        argv = self.robot.ssh_argv("sudo", "python3", "-c", Path(strike.__file__).read_text(), change.spec)
        pipe, text = subprocess.PIPE, ""
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                text += line
                if strike.AT_THE_EDGE in line:
                    self.robot.container.kill("SIGKILL")
                    process.kill()
                    self.robot.on()
                    return {"fired": "power", **json.loads(line)}
        try:
            return dict(json.loads(text.splitlines()[-1]))
        except (IndexError, ValueError):
            raise AssertionError(f"{self.robot.name}: {change.verb[0]} was not watched: {text[-2000:]}") from None

    def _journal(self) -> list[dict[str, Any]]:
        text = self.robot.read("cat", str(strike.JOURNAL))
        return [json.loads(line) for line in text.splitlines()]

    def _wait_well(self) -> dict[str, Any]:
        """Its status then. Raises AssertionError with what its agent says at the end."""
        status: dict[str, Any] = {}

        def well() -> bool:
            status.update(self.robot.agent("status", check_code=False))
            return status.get("healthy") is True and status["stage"] == "IDLE" and status["deployment"] is None

        try:
            wait_until(well, WELL_S, f"{self.robot.name} to be well")
        except AssertionError as error:
            raise AssertionError(f"{error}: {status.get('problems')} {status.get('error')}") from error
        return status

    def _look(self, change: Change, records: int) -> Seen:
        robot = self.robot
        names = robot.read("docker", "ps", "--all", "--format", "{{.Names}}", "--filter", "name=homeport-slot-").split()
        zipapp = f"PYTHONPATH={strike.AGENT}"
        supervisor = robot.read("env", zipapp, "python3", "-c", ASK_SUPERVISOR)
        return Seen(
            robot.agent("status"),
            self._journal()[records:],
            json.loads(supervisor),
            [robot.inspect(name) for name in names],
            {digest: self._image(digest) for digest in (change.start, change.target)},
        )

    def _image(self, digest: str) -> str:
        """The image ID in a release's document; empty when that is not here whole."""
        path = strike.ROOT / "releases" / digest.removeprefix("sha256:") / "release.json"
        text = self.robot.read("sh", "-c", f"cat {path} 2>/dev/null || :")
        if f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" != digest:
            return ""
        return str(json.loads(text)["images"][ROW_ARCH]["config_digest"])

    def _boot_order(self) -> list[str]:
        """Recovery ends before anything of the stack begins."""

        def at(unit: str, what: str) -> int:
            return int(self.robot.run("systemctl", "show", "--value", "--property", what, f"homeport-{unit}.service"))

        ended = at("recovery", "ExecMainExitTimestampMonotonic")
        units = ("supervisor", "agent")
        late = [unit for unit in units if not 0 < ended <= at(unit, "ExecMainStartTimestampMonotonic")]
        return [f"recovery came after the {unit}" for unit in late]


def told(seen: Seen) -> str:
    """What the robot says of the change, in one line."""
    if not seen.records:
        return "nothing was written"
    last = seen.records[-1]
    failure = last["detail"].get("failure") or {}
    recovered = ", recovered" if last["detail"].get("recovered") else ""
    return f"{last['stage']}{recovered}{': ' if failure else ''}{failure.get('message', '')}"
