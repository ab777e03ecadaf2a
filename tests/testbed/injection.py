"""How a fault is injected, and what came of it: drive, do it, look, heal, and look whether anything starts again by
itself. The faults are in faults.py.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from std_msgs.msg import Bool, String

from model_registry.core.errors import HomeportError
from tests.fakes.ros import wait_until
from tests.testbed.listening import Listening
from tests.testbed.played import OLD, PlayedRobot

Deed = Callable[[PlayedRobot], object]
HELD_S = 0.4
LATE = frozenset({"silence", "action_stale"})
"""What a supervisor says of a slot that this machine made late."""
LONGEST_GAP_MS = 60.0
WATCH_S = 1.0


@dataclass(frozen=True)
class Case:
    """`reason` is looked for among reasons, latched reasons and what `reverted` says.

    `driver` is the slot that drives: played, or a process.
    """

    name: str
    inject: Deed
    state: str
    reason: str
    bar_ms: float | None
    heal: Deed = lambda robot: None
    process: bool = False
    probation: bool = False
    real_policy: bool = False
    """The driver is a real policy, and the robot a PlayedRobot with its model."""
    watch: str = "cmd"
    """What must become zero: the command, or the base itself (`odom`)."""


@dataclass(frozen=True)
class Outcome:
    """What came of a case. `zero_ms` is from the injection to the first held zero, None where the robot went on."""

    case: Case
    state: str
    reasons: tuple[str, ...]
    zero_ms: float | None
    resumed: bool
    largest_gap_ms: float

    @property
    def ended_right(self) -> bool:
        """State and reason are the expected ones, and nothing resumed by itself."""
        return (
            self.state == self.case.state
            and (self.case.reason in self.reasons or not self.case.reason)
            and not self.resumed
        )

    @property
    def disturbed(self) -> bool:
        """Whether the played slot was late in a case about something else: the machine stood still for 0.1 s."""
        return not self.ended_right and bool(LATE.intersection(self.reasons)) and self.case.reason not in LATE

    @property
    def in_time(self) -> bool:
        if self.case.bar_ms is None:
            return self.zero_ms is None and self.largest_gap_ms <= LONGEST_GAP_MS
        return self.zero_ms is not None and self.zero_ms <= self.case.bar_ms


def settle(robot: PlayedRobot) -> None:
    """Whatever was before: everything healthy, slot a drives at 0.3 m/s."""
    robot.body.heal()
    for slot in robot.slots.values():
        slot.heal()
    if robot.supervisor.child.poll() is not None:
        robot.start_supervisor()
    robot.estop.publish(Bool(data=False))
    with contextlib.suppress(HomeportError):
        robot.control("unhold", owner="fault")

    def ready() -> bool:
        status = robot.status
        if status["latched"]:
            with contextlib.suppress(HomeportError):
                robot.operator("reset")
        return not status["blocking"]

    wait_until(ready, 20.0, f"the robot to be healthy again; it says {robot.status}")
    selected = robot.status["selected"]
    if selected is None or selected["slot"] != "a":
        robot.wait_selectable("a")
        robot.control("select", slot="a", release=str(OLD), probation_s=0, fallback=None)
    robot.voice.publish(String(data="go on"))
    robot.drive()


def settle_policy(robot: PlayedRobot) -> None:
    """The real policy drives in some way or other: its camera shows noise."""
    robot.body.heal()
    if robot.programs.get("a") is None or robot.programs["a"].child.poll() is not None:
        robot.start_policy()
    wait_until(lambda: not robot.status["blocking"], 60.0, f"the robot to be healthy; it says {robot.status}")
    robot.voice.publish(String(data="turn left"))
    robot.arm()
    wait_until(lambda: robot.moving, 20.0, "the policy to drive")


def run(robot: PlayedRobot, heard: Listening, case: Case) -> Outcome:
    """Drive, do it, look, heal, and look whether it starts again by itself.

    Raises AssertionError when the robot cannot be brought to drive.
    """
    if case.process and not robot.programs.get("a"):
        robot.slots["a"].stop()
        before = robot.status["slots"]["a"]["epoch"]
        robot.start_slot("a", steps=16)
        wait_until(lambda: robot.status["slots"]["a"]["epoch"] != before, 10.0, "the process of slot a to be heard")
    (settle_policy if case.real_policy else settle)(robot)
    if case.probation:
        robot.select_new()
        robot.wait_speed(0.4)
    heard.forget()
    at_s = time.monotonic()
    case.inject(robot)
    zero_ms = None
    if case.bar_ms is not None:
        with contextlib.suppress(AssertionError):
            zero_ms = (heard.held_zero(at_s, HELD_S, case.watch) - at_s) * 1e3
    else:
        threading.Event().wait(WATCH_S)
    alive = robot.supervisor.child.poll() is None
    state = wait_until(robot.try_status, 15.0, "the supervisor to answer")["state"] if alive else "ENDED"
    times = [r["t"] for r in heard.read() if r["k"] == "cmd" and r["t"] >= at_s - 0.1]
    case.heal(robot)
    return Outcome(
        case=case,
        state=state,
        reasons=reasons_since(heard, at_s),
        zero_ms=zero_ms,
        resumed=case.bar_ms is not None and resumes(robot, heard, case),
        largest_gap_ms=max(((b - a) * 1e3 for a, b in pairwise(times)), default=math.inf),
    )


def reasons_since(heard: Listening, at_s: float) -> tuple[str, ...]:
    """Every word that the supervisor gave for itself since then, in the order of its bits."""
    words: dict[str, None] = {}
    for record in heard.read():
        if record["k"] == "state" and record["t"] >= at_s:
            state = record["state"]
            reverted = [state["reverted"]["reason"]] if state["reverted"] else []
            words |= dict.fromkeys((*state["reasons"], *state["latched"], *state["limited_by"], *reverted))
    return tuple(words)


def resumes(robot: PlayedRobot, heard: Listening, case: Case) -> bool:
    """Whether a stopped robot moves again, within a second after everything is healed, without being armed."""
    if case.state in ("ARMED", "ENDED"):
        return False  # nothing was wrong with an action that says nothing; there is no supervisor to resume
    robot.body.heal()
    for slot in robot.slots.values():
        slot.heal()
    since_s = time.monotonic()
    threading.Event().wait(1.0)
    return any(r["k"] == "cmd" and r["t"] > since_s and (r["v"], r["w"]) != (0.0, 0.0) for r in heard.read())
