"""The base and its room as a state that moves on by `step`: no clock, no ROS, so training and tests run it as fast as they can."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stack.sim.geometry import Floats
from stack.sim.scene import ROBOT_RADIUS_M, Pose, Scene, move_target, polar

MAX_LINEAR_MPS = 0.8
MAX_ANGULAR_RPS = 1.5
ACTUATOR_LAG_S = 0.08
BASE_TIMEOUT_S = 0.25  # without a command for this long the base brakes by itself
RESPAWN_GAP_M = 0.6  # hull to hull
CONTACT_ENDS_M = 0.01  # a robot that pushes against a wall touches it once
BATTERY_AT_START = 0.95
IDLE_DRAIN_PER_S = 5e-6
DRIVE_DRAIN_PER_M = 5e-5


class World:
    """A differential-drive robot in a scene.

    `respawn` names the pillar colour that moves elsewhere when the robot comes near it, None keeps everything where it is.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator, respawn: str | None = None) -> None:
        self.scene = scene
        self.circles = _circles(scene)
        self.time_s = 0.0
        self.linear = 0.0
        self.angular = 0.0
        self.in_contact = False
        self.contacts = 0
        self.respawns = 0
        self.battery = BATTERY_AT_START
        self._rng = rng
        self._respawn = respawn
        self._command = (0.0, 0.0)
        self._command_at_s = -math.inf

    @property
    def pose(self) -> Pose:
        return self.scene.pose

    @property
    def half_size(self) -> tuple[float, float]:
        return self.scene.size[0] / 2, self.scene.size[1] / 2

    def command(self, linear: float, angular: float) -> None:
        """Set the wanted speeds (m/s, rad/s). A value that is not finite counts as zero, as a sane base driver does."""
        finite = math.isfinite(linear) and math.isfinite(angular)
        self._command = (_clip(linear, MAX_LINEAR_MPS), _clip(angular, MAX_ANGULAR_RPS)) if finite else (0.0, 0.0)
        self._command_at_s = self.time_s

    def step(self, dt_s: float) -> None:
        """Move on by `dt_s` seconds (at most about 50 ms for a truthful path)."""
        self.time_s += dt_s
        silent = self.time_s - self._command_at_s > BASE_TIMEOUT_S
        linear, angular = (0.0, 0.0) if silent else self._command
        follow = 1.0 - math.exp(-dt_s / ACTUATOR_LAG_S)
        self.linear += (linear - self.linear) * follow
        self.angular += (angular - self.angular) * follow
        self._move(dt_s)
        self.battery = max(0.0, self.battery - IDLE_DRAIN_PER_S * dt_s - DRIVE_DRAIN_PER_M * abs(self.linear) * dt_s)
        self._respawn_when_near()

    def _move(self, dt_s: float) -> None:
        pose = self.pose
        middle = pose.theta + self.angular * dt_s / 2
        x = pose.x + self.linear * math.cos(middle) * dt_s
        y = pose.y + self.linear * math.sin(middle) * dt_s
        clearance = self._clearance(x, y)
        if clearance < 0.0:
            x, y, self.linear = pose.x, pose.y, 0.0
            self.contacts += not self.in_contact
        self.in_contact = clearance < (CONTACT_ENDS_M if self.in_contact else 0.0)
        self.scene = replace(self.scene, pose=Pose(x, y, math.remainder(pose.theta + self.angular * dt_s, math.tau)))

    def _clearance(self, x: float, y: float) -> float:
        """Distance (m) from the hull to the nearest thing, negative inside it."""
        half_x, half_y = self.half_size
        pillars = (math.hypot(p.x - x, p.y - y) - p.radius for p in self.scene.pillars)
        return min(half_x - abs(x), half_y - abs(y), *pillars) - ROBOT_RADIUS_M

    def _respawn_when_near(self) -> None:
        target = self.scene.pillar(self._respawn) if self._respawn else None
        if target is None or polar(self.pose, target)[0] > RESPAWN_GAP_M + target.radius + ROBOT_RADIUS_M:
            return
        self.scene = move_target(self.scene, target.color, self._rng)
        self.circles = _circles(self.scene)
        self.respawns += 1


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def _circles(scene: Scene) -> Floats:
    return np.array([(p.x, p.y, p.radius) for p in scene.pillars], dtype=np.float64).reshape(-1, 3)
