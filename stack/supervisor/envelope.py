"""The envelope of motion: how much of what a slot asks for the robot may do now, and when even that cannot be kept.

Three things hold a command below a request: the speed limits, the free way (`obstacle`), and the age of what the slot
has seen (`action_age`). The free way caps the speed so that the robot can always stop with the margin left, along the
commanded arc and along the way that the body takes in fact if it is told to stop after this command; when something
moves into the margin, that is a fault, not a cap.
"""

from __future__ import annotations

import math

from model_registry.core.robot import Robot
from stack.supervisor.limits import ZERO, Command, Limiter, within
from stack.supervisor.obstacles import LOOK_M, Obstacles, fastest, stopping_m
from stack.supervisor.odometry import STANDSTILL
from stack.supervisor.paths import Braking, Path
from stack.supervisor.sources import Sources
from stack.supervisor.thresholds import Thresholds

TICK_S = 0.02
_EASES_S = 0.025  # per second: how fast a latency that was measured once is forgotten
_NOTICEABLE = 1e-6
_LOOKS = 3
_CRAWL = 0.005  # m/s: less than this is standing
_CORNER_RAD = 0.1
_FASTEST = 3.0


class Peak:
    """The largest value of late, in seconds: a latency counts until better ones have come for a while."""

    def __init__(self) -> None:
        self.value_s = 0.0

    def note(self, value_s: float) -> float:
        self.value_s = max(value_s, self.value_s - _EASES_S * TICK_S)
        return self.value_s


class Envelope:
    """One robot's. `plan` is called once a tick; `limited_by` and `cap` are what it found."""

    def __init__(self, robot: Robot, sources: Sources) -> None:
        self._robot = robot
        self._sources = sources
        self.thresholds = Thresholds.of(robot)
        self.limiter = Limiter(robot.limits, TICK_S)
        self.limited_by: tuple[str, ...] = ()
        self.cap = math.inf
        self._scan_age, self._action_age = Peak(), Peak()
        self._stopped_from: Command | None = None
        limits = robot.limits
        self._braking = Braking(robot.base_response_s, limits.linear_acceleration, limits.angular_acceleration)
        self._motion: Command = ZERO
        self._turns = True
        self._planned_s: float | None = None

    def allow(self, thresholds: Thresholds) -> None:
        """Other thresholds from the next tick on."""
        self.thresholds = thresholds
        self.limiter.allow(thresholds.limits(self._robot.limits), thresholds.linear_slope)

    @property
    def _obstacles(self) -> Obstacles | None:
        return self._sources.obstacles if self._sources.all["scan"].required else None

    @property
    def reaction_s(self) -> float:
        """From something in the way to wheels that brake: the measured age of the scan, one tick, and the base."""
        return self._scan_age.value_s + TICK_S + self._robot.base_response_s

    def plan(self, wanted: Command | None, observed_age_s: float, now_s: float) -> Command | None:
        """The part of `wanted` that may be done; None for None.

        `observed_age_s` is the age of what the action was derived from.
        """
        scan = self._sources.all["scan"]
        # One that is away for longer stops the robot anyway.
        self._scan_age.note(min(scan.age_s(now_s), scan.max_age_s))
        self._move(now_s)
        self._action_age.note(observed_age_s)
        self.limited_by = ()
        self.cap = math.inf
        self._turns = True
        if wanted is None:
            return None
        limits = self.limiter.limits
        slow = self._robot.safety.action_age_s / max(self._action_age.value_s, self._robot.safety.action_age_s)
        allowed = within(wanted[0], limits.linear), within(wanted[1], limits.angular)
        eased = within(allowed[0], limits.linear * slow), within(allowed[1], limits.angular * slow)
        free = self._stoppable(self._free(eased))
        steps = (("speed", wanted, allowed), ("action_age", allowed, eased), ("obstacle", eased, free))
        self.limited_by = tuple(name for name, before, after in steps if _differ(before, after))
        return free

    def _free(self, command: Command) -> Command:
        """`command` as slow as the free way asks for. A slower one is a tighter arc, so it is looked at again."""
        if (obstacles := self._obstacles) is None:
            return command
        linear, angular = command if abs(command[0]) > _CRAWL else (0.0, command[1])
        for _ in range(_LOOKS):
            free_m = obstacles.free_m((linear, angular), self._horizon_m)
            self.cap = fastest(
                free_m, self.reaction_s, self._robot.limits.linear_acceleration, self.thresholds.min_obstacle
            )
            if abs(linear) <= self.cap:
                break
            linear = within(linear, self.cap if self.cap > _CRAWL else 0.0)
        if linear == 0.0 and not obstacles.may_turn(angular, self._turning_angle(angular)):
            angular = 0.0
        return linear, angular

    def _stoppable(self, target: Command) -> Command:
        """`target`, as far as the robot can still stop with the margin left after the next command on the way to it.

        `_free` looks along the commanded arc. A body that has still to turn, or to reverse, takes another way until it
        has done so. If slowing down alone does not keep that way free, the turn ends as well.
        """
        if self._obstacles is None:
            return target
        for turns in (True, False):
            self._turns = turns
            for _ in range(2):
                command = self.limiter.next(target, self.cap, self._turns)
                cap = self._stopping_cap(command)
                if abs(command[0]) <= cap:
                    return target if turns else (target[0], 0.0)
                self.cap = min(self.cap, cap)
                target = within(target[0], cap if cap > _CRAWL else 0.0), target[1]
        return target[0], 0.0

    def _stopping_cap(self, command: Command) -> float:
        """The speed from which the body, told `command` now and then to stop, keeps the margin."""
        obstacles = self._obstacles
        linear = command[0]
        if obstacles is None or linear == 0.0:
            return math.inf
        margin_m = self.thresholds.min_obstacle
        if not obstacles.anything_within(stopping_m(linear, self.reaction_s, self._braking.linear) + margin_m):
            return math.inf
        free_m = obstacles.free_along(self._stop(command, margin_m))
        return fastest(free_m, self.reaction_s, self._braking.linear, margin_m)

    def _stop(self, command: Command, margin_m: float) -> Path:
        """Where a body goes that is told `command` now and then to stop, and `margin_m` behind."""
        beyond_m = abs(command[0]) * self._scan_age.value_s + margin_m
        return self._braking.path(command, self._motion[1], TICK_S, beyond_m)

    def _move(self, now_s: float) -> None:
        """Tell the obstacles how the body has moved: as measured, or as the base follows its commands."""
        step_s = 0.0 if self._planned_s is None else now_s - self._planned_s
        self._planned_s = now_s
        if self._sources.all["odom"].required and self._sources.speed is not None:
            self._motion = self._believable(self._sources.speed)
        else:
            # The speed that the base has not followed yet is still driven.
            follows = -math.expm1(-step_s / max(self._robot.base_response_s, 1e-3))
            before = self._motion
            after = self.limiter.last
            self._motion = before[0] + follows * (after[0] - before[0]), before[1] + follows * (after[1] - before[1])
        if self._sources.obstacles is not None:
            self._sources.obstacles.move(self._motion, now_s)

    def _believable(self, speed: Command) -> Command:
        """A measured speed, within what any robot of these limits can do: nothing else moves what is remembered."""
        limits = self._robot.limits
        return within(speed[0], _FASTEST * limits.linear), within(speed[1], _FASTEST * limits.angular)

    @property
    def _horizon_m(self) -> float:
        """As far as anything ahead can matter: the stopping distance from full speed, and the margin."""
        limits = self._robot.limits
        return stopping_m(limits.linear, self.reaction_s, limits.linear_acceleration) + self.thresholds.min_obstacle

    def _turning_angle(self, angular: float) -> float:
        """What a turn at this speed still covers, and some of the margin at the corners, in rad."""
        return stopping_m(angular, self.reaction_s, self._robot.limits.angular_acceleration) + _CORNER_RAD

    def obstructed(self, speed: Command) -> bool:
        """Whether the robot, at this measured speed, can no longer stop before it touches something."""
        if (obstacles := self._obstacles) is None or abs(speed[0]) <= STANDSTILL[0]:
            return False
        path = self._stop(self._believable(speed), 0.0)
        way_m = float(path.way[-1])
        turn = float(path.turns[-1])
        straightened = speed[0], speed[0] * turn / max(way_m, LOOK_M)
        if math.isinf(obstacles.sight_m(straightened, way_m)) and math.isinf(obstacles.free_along(path)):
            return False
        self._stopped_from = speed
        return True

    @property
    def way_free(self) -> bool:
        """Whether what `obstructed` has found is gone."""
        if self._obstacles is not None and self._stopped_from is not None:
            margin = self.thresholds.min_obstacle
            if self._obstacles.free_m(self._stopped_from, margin) < margin:
                return False
            self._stopped_from = None
        return True

    def follow(self, target: Command) -> Command:
        """This tick's command on the way to what `plan` allowed."""
        return self.limiter.follow(target, self.cap, self._turns)


def _differ(one: Command, other: Command) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) > _NOTICEABLE
