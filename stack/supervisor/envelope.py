"""The envelope of motion: how much of what a slot asks for the robot may do now, and when even that cannot be kept.

Three things hold a command below a request: the speed limits, the free way (`obstacle`), and the age of what the slot has seen (`action_age`). The
free way caps the speed so that the robot can always stop with the margin left; when something moves into the margin, that is a fault, not a cap.
"""

from __future__ import annotations

import math

from model_registry.core.robot import Robot
from stack.supervisor.limits import Command, Limiter, within
from stack.supervisor.obstacles import Obstacles, fastest, stopping_m
from stack.supervisor.odometry import STANDSTILL
from stack.supervisor.sources import Sources
from stack.supervisor.thresholds import Thresholds

TICK_S = 0.02
_EASES_S = 0.025  # per second: how fast a latency that was measured once is forgotten
_NOTICEABLE = 1e-6
_LOOKS = 3
_CRAWL = 0.005  # m/s: less than this is standing
_CORNER_RAD = 0.1


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
        self._robot, self._sources = robot, sources
        self.thresholds = Thresholds.of(robot)
        self.limiter = Limiter(robot.limits, TICK_S)
        self.limited_by: tuple[str, ...] = ()
        self.cap = math.inf
        self._scan_age, self._action_age = Peak(), Peak()
        self._stopped_from: Command | None = None

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
        """The part of `wanted` that may be done; None for None. `observed_age_s` is the age of what the action was derived from."""
        scan = self._sources.all["scan"]
        self._scan_age.note(
            min(scan.age_s(now_s), scan.max_age_s)
        )  # one that is away for longer stops the robot anyway
        self._action_age.note(observed_age_s)
        self.limited_by, self.cap = (), math.inf
        if wanted is None:
            return None
        limits = self.limiter.limits
        slow = self._robot.safety.action_age_s / max(self._action_age.value_s, self._robot.safety.action_age_s)
        allowed = within(wanted[0], limits.linear), within(wanted[1], limits.angular)
        eased = within(allowed[0], limits.linear * slow), within(allowed[1], limits.angular * slow)
        free = self._free(eased)
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

    @property
    def _horizon_m(self) -> float:
        """As far as anything ahead can matter: the stopping distance from full speed, and the margin."""
        limits = self._robot.limits
        return stopping_m(limits.linear, self.reaction_s, limits.linear_acceleration) + self.thresholds.min_obstacle

    def _turning_angle(self, angular: float) -> float:
        """What a turn at this speed still covers, and some of the margin at the corners, in rad."""
        return stopping_m(angular, self.reaction_s, self._robot.limits.angular_acceleration) + _CORNER_RAD

    def obstructed(self, speed: Command) -> bool:
        """Whether the robot, at this measured speed, can no longer stop before what it sees without using up the margin."""
        if (obstacles := self._obstacles) is None or abs(speed[0]) <= STANDSTILL[0]:
            return False
        need = stopping_m(speed[0], self.reaction_s, self._robot.limits.linear_acceleration)
        if obstacles.free_m(speed, need) >= need:
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
        return self.limiter.follow(target, self.cap)


def _differ(one: Command, other: Command) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) > _NOTICEABLE
