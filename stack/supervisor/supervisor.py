"""One tick of the supervisor, without ROS: messages and requests in, one command out.

Whoever receives messages calls `scan`, `odom`, `battery`, `voice`, `estop`, `action` and `submit` from any thread; they only store. The tick thread
calls `tick`, the only place where anything changes.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace

from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.layout import SLOTS
from model_registry.core.robot import Robot
from stack.supervisor import report, state
from stack.supervisor.actions import ActionMessage
from stack.supervisor.clock import ClockWatch
from stack.supervisor.command import VoiceCommand
from stack.supervisor.limits import ZERO, Command, Limiter
from stack.supervisor.requests import Answer, Hold, Plain, Select, Ticket, Unhold
from stack.supervisor.selection import Reverted, Selected, Selection
from stack.supervisor.settings import Settings
from stack.supervisor.slots import SlotView
from stack.supervisor.sources import Sources
from stack.supervisor.state import NONE, Inputs, Machine, Motion, Reason, State
from stack.supervisor.ticker import Ticks

MAX_HOLDERS = 16
_MAX_REQUESTS_PER_TICK = 4


@dataclass(frozen=True, slots=True)
class Output:
    """What one tick publishes. `source` is the header of the action the command was derived from, empty when from none."""

    command: Command
    source: str
    safe: bool
    changed: bool
    """`/safety/state` says something new."""
    events: tuple[dict[str, object], ...] = ()


@dataclass
class _Inbox:
    """Filled by other threads. Appending to a bounded deque and setting a flag are atomic."""

    actions: deque[tuple[str, ActionMessage]] = field(default_factory=lambda: deque(maxlen=64))
    voice: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    tickets: deque[Ticket] = field(default_factory=lambda: deque(maxlen=64))
    scan_s: float | None = None
    odom: tuple[float, float, float] | None = None
    battery: tuple[float, float] | None = None
    estop: bool = False
    trips: deque[Reason] = field(default_factory=lambda: deque(maxlen=64))


class Supervisor:
    """Arms, selects, limits and stops. Times are monotonic seconds unless called `ros_s`."""

    def __init__(self, robot: Robot, selected: Selected | None, settings: Settings = Settings()) -> None:  # noqa: B008
        self.robot = robot
        self.settings = settings
        self.ticks = Ticks()
        self.clock = ClockWatch(settings)
        self.sources = Sources(robot, settings)
        self.views = {slot: SlotView(robot.limits, settings) for slot in SLOTS}
        self.selection = Selection(settings, selected)
        self.voice_command = VoiceCommand(settings.command_life_s)
        self.limiter = Limiter(robot.limits, settings.tick_s)
        self.machine = Machine(self.limiter.longest_ramp_s + 0.1, settings.limited_dwell_s)
        self.holders: dict[str, str] = {}
        self.inputs = Inputs(0.0, heard_all=False)
        self.violations = 0
        self._inbox = _Inbox()
        self._events: list[dict[str, object]] = []

    # Called from any thread.

    def scan(self, now_s: float) -> None:
        self._inbox.scan_s = now_s

    def odom(self, linear: float, angular: float, now_s: float) -> None:
        self._inbox.odom = (linear, angular, now_s)

    def battery(self, level: float, now_s: float) -> None:
        self._inbox.battery = (level, now_s)

    def voice(self, text: str) -> None:
        self._inbox.voice.append(text)

    def action(self, slot: str, message: ActionMessage) -> None:
        self._inbox.actions.append((slot, message))

    def estop(self, pressed: bool) -> None:
        """An e-stop that is pressed and let go between two ticks still latches."""
        self._inbox.estop = pressed
        if pressed:
            self.trip(Reason.ESTOP)

    def trip(self, reason: Reason) -> None:
        """Latch at the next tick."""
        self._inbox.trips.append(reason)

    def submit(self, ticket: Ticket) -> None:
        self._inbox.tickets.append(ticket)

    # Called from the tick thread.

    def tick(self, now_s: float, ros_s: float) -> Output:
        """Take what has arrived, decide, and give this tick's command."""
        self.clock.update(now_s, ros_s)
        self._take_messages(now_s)
        waiting = self._serve(now_s)
        self.voice_command.expire(now_s)
        before, driver_before = self.machine, self._driver()
        reverted = self._decide(now_s, waiting)
        command, source = self._move(now_s)
        for view in self.views.values():
            view.fresh.clear()
        self._report_edges(before, reverted)
        if waiting is not None:
            waiting.answer(self._outcome(waiting))
        changed = bool(self._events) or driver_before != self._driver()
        events, self._events = tuple(self._events), []
        return Output(command, source, self.machine.state in state.MAY_MOVE, changed, events)

    def _take_messages(self, now_s: float) -> None:
        inbox = self._inbox
        if inbox.scan_s is not None:
            self.sources.scan(inbox.scan_s)
        if inbox.odom is not None:
            self.sources.odom(*inbox.odom)
        if inbox.battery is not None:
            self.sources.charge(*inbox.battery)
        while inbox.voice:
            if self.voice_command.accept(inbox.voice.popleft(), now_s):
                self.trip(Reason.ESTOP)
            self._event("command", self.voice_command.text or "")
        while inbox.actions:
            slot, message = inbox.actions.popleft()
            self._take_action(slot, message, now_s)

    def _take_action(self, slot: str, message: ActionMessage, now_s: float) -> None:
        driver = self.selection.selected
        due = self.views[driver.slot].due(now_s) if driver is not None and driver.slot != slot else None
        view = self.views[slot]
        expects_motion = due is not None and not self.voice_command.stopped
        if not view.accept(message, self.clock, expects_motion) or due is None:
            return
        mine = view.due(now_s)
        if mine is not None:
            view.disagreement.add(mine, due, self.robot.limits, self.settings.disagreement)

    def _serve(self, now_s: float) -> Ticket | None:
        """Do what waits, a few requests a tick. An arm, reset or estop is returned: its answer is what the state machine makes of it."""
        for _ in range(min(_MAX_REQUESTS_PER_TICK, len(self._inbox.tickets))):
            ticket = self._inbox.tickets.popleft()
            if isinstance(ticket.request, Plain) and ticket.request.verb != "status":
                if ticket.request.verb == "estop":
                    self.trip(Reason.ESTOP)
                return ticket
            ticket.answer(self._do(ticket, now_s))
        return None

    def _do(self, ticket: Ticket, now_s: float) -> Answer:
        request = ticket.request
        if isinstance(request, Select):
            try:
                self._select(request, now_s)
            except HomeportError as error:
                return error
            return report.select(self, request, now_s)
        if isinstance(request, Hold):
            if request.owner not in self.holders and len(self.holders) >= MAX_HOLDERS:
                return RefusedError(f"hold: {MAX_HOLDERS} owners hold already; let one go first")
            self.holders[request.owner] = request.reason
            return report.hold(self)
        if isinstance(request, Unhold):
            self.holders.pop(request.owner, None)
            return report.hold(self)
        return report.status(self, now_s)

    def _select(self, request: Select, now_s: float) -> None:
        before = self.selection.selected
        view = self.views[request.wanted.slot]
        self.selection.select(request.wanted, request.probation_s, request.fallback, view, now_s)
        if before != self.selection.selected:
            for each in self.views.values():
                each.disagreement = type(each.disagreement)()
                each.recent.clear()
        self._event("select", request.wanted.slot)

    def _decide(self, now_s: float, waiting: Ticket | None) -> Reverted | None:
        """Feed the state machine: what holds now, and what somebody asks for."""
        verb = waiting.request.verb if waiting is not None and isinstance(waiting.request, Plain) else ""
        found, reverted = self.selection.watch(self.views, now_s)
        reasons = self.sources.reasons(now_s)
        for failure in found:
            reasons |= failure.reason or NONE
        while self._inbox.trips:
            reasons |= self._inbox.trips.popleft()
        if self.clock.stepped(now_s):
            # Ages by stamp mean nothing now; that is the clock's doing.
            reasons = (reasons & ~Reason.ACTION_STALE) | Reason.CLOCK_STEP
        reasons |= Reason.HOLD if self.holders else NONE
        reasons |= Reason.ESTOP if self._inbox.estop else NONE
        wanted = self._wanted(now_s)
        self.inputs = Inputs(
            now_s=now_s,
            reasons=reasons,
            heard_all=self.sources.heard_all,
            live=wanted is not None,
            clamped=wanted is not None and report.is_clamped(wanted, self.robot.limits),
            commanded_zero=self.limiter.last == ZERO,
            standing=self.standing,
            arm=verb == "arm",
            reset=verb == "reset",
        )
        self.machine = state.step(self.machine, self.inputs)
        return reverted

    def _driver(self) -> tuple[Selected | None, bool]:
        return self.selection.selected, self.selection.probation is None

    def _wanted(self, now_s: float) -> Command | None:
        """The step that is due in the driver's newest action, unless a stop was commanded."""
        driver = self.selection.selected
        if driver is None or self.voice_command.stopped:
            return None
        return self.views[driver.slot].due(now_s)

    def _move(self, now_s: float) -> tuple[Command, str]:
        """Turn the state machine's decision into this tick's command."""
        if self.machine.motion is Motion.ZERO:
            return self.limiter.zero(), ""
        wanted, driver = self._wanted(now_s), self.selection.selected
        if self.machine.motion is Motion.RAMP or wanted is None or driver is None:
            return self.limiter.follow(ZERO), ""
        chunk = self.views[driver.slot].chunk
        return self.limiter.follow(wanted), chunk.header if chunk is not None else ""

    def _outcome(self, ticket: Ticket) -> Answer:
        """What became of an arm, reset or estop."""
        verb = ticket.request.verb if isinstance(ticket.request, Plain) else ""
        if verb == "arm" and not self.machine.armed:
            why = state.blocking(self.machine, self.inputs)
            return RefusedError(f"arm refused: {', '.join(why)}; clear the cause, reset if it is latched, arm again")
        if verb == "reset" and self.machine.state is State.LATCHED:
            why = state.reset_blocking(self.inputs)
            return RefusedError(f"reset refused: {', '.join(why)}; clear the cause and reset again")
        self._event(verb, "operator")
        return report.operator(self)

    def _report_edges(self, before: Machine, reverted: Reverted | None) -> None:
        after = self.machine
        if reverted is not None:
            self._event("revert", reverted.failure.word)
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

    # Read by the reports.

    @property
    def speed(self) -> tuple[Command, str]:
        """Measured speed where odometry is present, commanded speed elsewhere."""
        if self.sources.all["odom"].required and self.sources.speed is not None:
            return self.sources.speed, "odom"
        return self.limiter.last, "commanded"

    @property
    def standing(self) -> bool:
        (linear, angular), _ = self.speed
        settings = self.settings
        still = abs(linear) <= settings.standstill_linear and abs(angular) <= settings.standstill_angular
        return still and self.limiter.last == ZERO

    def stop(self) -> Output:
        """The command of a process that ends, or whose tick failed: zero, disarmed."""
        stopped = State.LATCHED if self.machine.latched else State.SAFE_STOP
        self.machine = replace(self.machine, state=stopped, armed=False, motion=Motion.ZERO)
        return Output(self.limiter.zero(), "", False, True)
