"""One tick of the supervisor, without ROS: messages and requests in, one command out.

The tick thread fills `actions`, `voice`, `trips`, `sources` and `estop`, and calls `tick`. Other threads only store: in
`trips`, `tickets` and `unheard`, and by `adjust`. Nothing else changes outside of `tick`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.layout import SLOTS
from model_registry.core.robot import Robot
from stack.supervisor import report, state
from stack.supervisor.actions import ActionMessage
from stack.supervisor.clock import ClockWatch, TickCounts
from stack.supervisor.envelope import Envelope
from stack.supervisor.limits import ZERO, Command
from stack.supervisor.requests import ESTOP, Answer, Request, Ticket, Tickets
from stack.supervisor.selection import Selected, Selection
from stack.supervisor.slots import Disagreement, SlotView
from stack.supervisor.sources import Sources
from stack.supervisor.state import NONE, Inputs, Machine, Motion, Reason, State
from stack.supervisor.stops import Stops
from stack.supervisor.thresholds import changed

MAX_HOLDERS = 16


@dataclass(frozen=True, slots=True)
class Output:
    """What one tick publishes.

    `source` is the header of the action the command was derived from, empty when from none.
    """

    command: Command
    source: str
    safe: bool
    changed: bool
    """`/safety/state` says something new."""
    events: tuple[dict[str, object], ...] = ()


class Supervisor:
    """Arms, selects, limits and stops. Times are monotonic seconds unless called `ros_s`."""

    def __init__(self, robot: Robot, selected: Selected | None, latched: Reason = NONE) -> None:
        """`latched` is what the supervisor before this one had latched."""
        self.robot = robot
        self.ticks = TickCounts()
        self.clock = ClockWatch()
        self.sources = Sources(robot, self.clock)
        self.views = {slot: self._view() for slot in SLOTS}
        self.selection = Selection(selected, self.views)
        self.stops = Stops(robot)
        self.sources.name_of = self.stops.name
        self.voice_command = self.stops.voice_command
        self.envelope = Envelope(robot, self.sources)
        self.limiter = self.envelope.limiter
        self.machine = Machine(self.limiter.longest_ramp_s + 0.1, robot.safety.auto_resume_s, latched=latched)
        self.holders: dict[str, str] = {}
        self.inputs = Inputs(0.0, heard_all=False)
        self.violations = 0
        # Filled by other threads: appending to a bounded deque and setting a flag are atomic.
        self.actions: deque[tuple[str, ActionMessage]] = deque(maxlen=64)
        self.voice = self.stops.voice
        self.trips = self.stops.trips
        self.tickets = Tickets()
        self._adjusted = self.envelope.thresholds
        self._allowed: Command | None = None
        self._events: list[dict[str, object]] = []

    def _view(self) -> SlotView:
        """What is known of a slot before its first message."""
        return SlotView(self.robot.limits, oldest_s=self.robot.safety.action_max_age_s)

    def estop(self, pressed: bool, at_s: float, publisher: bytes = b"", number: int = 0) -> None:
        """A message of one e-stop button. One that is pressed and let go between two ticks still latches."""
        self.stops.estop(pressed, at_s, publisher, number)
        self.sources.estop(self.stops.buttons.quietest_s)

    def suspect(self, slot: str, publisher: bytes, at_s: float) -> bool:
        """Whether somebody else publishes as this slot while it speaks; that latches."""
        if not self.views[slot].is_rival(publisher, at_s):
            return False
        self.stops.accuse(f"/slot_{slot}/action", publisher)
        return True

    def adjust(self, values: Mapping[str, float]) -> None:
        """Set thresholds, all or none, from one other thread; they hold from the next tick on.

        Raises HomeportError when one may not be set.
        """
        may_loosen = not self.machine.armed and self.standing
        wanted = self._adjusted
        for name, value in values.items():
            wanted = changed(wanted, name, value, self.robot, may_loosen)
        self._adjusted = wanted

    def tick(self, now_s: float, ros_s: float) -> Output:
        """Take what has arrived, decide, and give this tick's command."""
        self.clock.update(now_s, ros_s)
        if self._adjusted is not self.envelope.thresholds:
            self.envelope.allow(self._adjusted)
            self._event("thresholds", "adjusted")
        self._take_messages(now_s)
        waiting = self._serve(now_s)
        machine = self.machine
        reverted = self.selection.reverted
        probation = self.selection.probation
        self._decide(now_s, waiting[0].request.verb if waiting else "")
        command, source = self._move()
        if self.limiter.last == ZERO:
            self.stops.rest()
        for event, words in self.stops.events:
            self._event(event, words)
        self.stops.events.clear()
        for view in self.views.values():
            view.fresh = view.fault
        if self.selection.reverted is not None and self.selection.reverted is not reverted:
            self._event("revert", str(self.selection.reverted["reason"]))
        self._report_edges(machine)
        outcome = self._outcome(waiting[0].request.verb) if waiting else {}
        for ticket in waiting:
            ticket.answer(outcome)
        changed = bool(self._events) or self.selection.probation is not probation
        events = tuple(self._events)
        self._events = []
        return Output(command, source, self.machine.state in state.MAY_MOVE, changed, events)

    def _take_messages(self, now_s: float) -> None:
        self.stops.take(now_s)
        for _ in range(len(self.actions)):  # not those that arrive meanwhile: a flood must not make a tick long
            self._take_action(*self.actions.popleft(), now_s)

    def _take_action(self, slot: str, message: ActionMessage, now_s: float) -> None:
        if self.suspect(slot, message.publisher, message.arrival_s):
            return
        view = self.views[slot]
        driver = self.selection.driver
        due = driver.due(now_s) if driver is not None and driver is not view else None
        expects_motion = due is not None and not self.voice_command.stopped
        if view.accept(message, self.clock, expects_motion, driver is view) and due is not None:
            mine = view.due(now_s)
            if mine is not None:
                view.disagreement.add(mine, due, view.observed_age_s(now_s), self.robot.limits)

    def _serve(self, now_s: float) -> tuple[Ticket, ...]:
        """Do what waits.

        Tickets of arm, reset or estop are returned: their answer is what the state machine makes of it.
        """
        due = self.tickets.take()
        verb = due.operator[0].request.verb if due.operator else ""
        if verb == ESTOP:
            self.stops.trip(Reason.ESTOP)
        elif verb == "reset":
            self._reset(any(ticket.request.gone for ticket in due.operator), now_s)
        for ticket in due.changes:
            ticket.answer(self._do(ticket.request, now_s))
        status = report.status(self, now_s) if due.status else {}
        for ticket in due.status:
            ticket.answer(status)
        return due.operator

    def _reset(self, gone: bool, now_s: float) -> None:
        """What an operator's reset forgets beside the latched reasons."""
        self.sources.thaw()
        self.stops.reset(gone, now_s)
        for slot, view in self.views.items():
            if view.shuts_out and not view.alive(now_s):
                self.views[slot] = self._view()

    def _do(self, request: Request, now_s: float) -> Answer:
        if request.verb == "select":
            try:
                return self._select(request, now_s)
            except HomeportError as error:
                return error
        if request.verb == "unhold":
            self.holders.pop(request.owner, None)
        elif request.owner in self.holders or len(self.holders) < MAX_HOLDERS:
            self.holders[request.owner] = request.reason
        else:
            return RefusedError(f"hold: {MAX_HOLDERS} owners hold already; let one go first")
        return {"held": bool(self.holders), "at_zero": self.standing}

    def _select(self, request: Request, now_s: float) -> dict[str, object]:
        """The reply says at which tick it took effect. Raises HomeportError."""
        before = self.selection.selected
        wanted = request.wanted
        assert wanted is not None
        self.selection.select(wanted, request.probation_s, request.fallback, now_s)
        if before != wanted:
            for view in self.views.values():
                view.disagreement = Disagreement()
        self._event("select", wanted.slot)
        place = {"slot": wanted.slot, "release": str(wanted.release)}
        return {**place, "tick": self.ticks.count, "monotonic_ns": int(now_s * 1e9)}

    def _decide(self, now_s: float, verb: str) -> None:
        """Feed the state machine: what holds now, and what somebody asks for."""
        thresholds = self.envelope.thresholds
        reasons = self.selection.watch(now_s, thresholds.max_processing_time)
        reasons |= self.sources.reasons(now_s, self.limiter.last, thresholds.min_battery)
        reasons |= self.stops.reasons(now_s)
        if self.clock.stepped(now_s):
            # Ages by stamp mean nothing now; that is the clock's doing.
            reasons = (reasons & ~Reason.ACTION_STALE) | Reason.CLOCK_STEP
        reasons |= Reason.HOLD if self.holders else NONE
        reasons |= Reason.OVERRUN if self.ticks.overrun(now_s) else NONE
        if any(self.envelope.obstructed(speed) for speed in self.sources.speeds(self.limiter.last)):
            reasons |= Reason.OBSTACLE
        wanted = self._wanted(now_s)
        driver = self.selection.driver
        observed_age_s = 0.0 if driver is None else driver.observed_age_s(now_s)
        self._allowed = self.envelope.plan(wanted, observed_age_s, now_s)
        self.inputs = Inputs(
            now_s=now_s,
            reasons=reasons,
            heard_all=self.sources.heard_all,
            live=wanted is not None,
            clamped=bool(self.envelope.limited_by),
            way_free=self.envelope.way_free,
            commanded_zero=self.limiter.last == ZERO,
            standing=self.standing,
            arm=verb == "arm",
            reset=verb == "reset",
        )
        self.machine = state.step(self.machine, self.inputs)

    def _wanted(self, now_s: float) -> Command | None:
        """The step that is due in the driver's newest action, unless a stop was commanded."""
        driver = self.selection.driver
        return None if driver is None or self.voice_command.stopped else driver.due(now_s)

    def _move(self) -> tuple[Command, str]:
        """Turn the state machine's decision into this tick's command."""
        if self.machine.motion is Motion.ZERO:
            return self.limiter.zero(), ""
        driver = self.selection.driver
        if self.machine.motion is Motion.RAMP or self._allowed is None or driver is None or driver.chunk is None:
            return self.limiter.brake(), ""
        return self.envelope.follow(self._allowed), driver.chunk.header

    def _outcome(self, verb: str) -> Answer:
        """What became of an arm, reset or estop."""
        machine = self.machine
        blocking = state.blocking(self.machine, self.inputs)
        if verb == "arm" and not machine.armed:
            return RefusedError(
                f"arm refused: {', '.join(blocking)}; clear the cause, reset if it is latched, arm again"
            )
        if verb == "reset" and machine.state is State.LATCHED:
            why = ", ".join(state.reset_blocking(self.inputs))
            remedies = ", ".join(self.stops.remedies(self.inputs.now_s)) or "clear the cause"
            return RefusedError(f"reset refused: {why}; {remedies} and reset again")
        self._event(verb, "operator")
        return {"state": machine.state.value, "armed": machine.armed, "blocking": blocking}

    def _report_edges(self, before: Machine) -> None:
        after = self.machine
        if (after.state, after.armed) != (before.state, before.armed):
            self._event("state", after.state.value)
        if after.reasons != before.reasons or after.latched != before.latched:
            self.violations += bool(after.reasons & ~before.reasons & ~Reason.HOLD)
            self._event("reasons", ", ".join(state.names(after.reasons | after.latched)))

    def _event(self, event: str, reason: str) -> None:
        self._events.append(
            {
                "timestamp": time.time(),
                "event": event,
                "reason": reason,
                "state": self.machine.state.value,
                "safety_violations_count": self.violations,
            }
        )

    @property
    def speed(self) -> tuple[Command, str]:
        """Measured speed where odometry is present, commanded speed elsewhere."""
        if self.sources.all["odom"].required and self.sources.speed is not None:
            return self.sources.speed, "odom"
        return self.limiter.last, "commanded"

    @property
    def standing(self) -> bool:
        return self.sources.still and self.limiter.last == ZERO

    def stop(self) -> Output:
        """The command of a process that ends, or whose tick failed: zero, disarmed."""
        stopped = State.LATCHED if self.machine.latched else State.SAFE_STOP
        self.machine = replace(self.machine, state=stopped, armed=False, motion=Motion.ZERO)
        return Output(self.limiter.zero(), "", False, True)
