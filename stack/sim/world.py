"""The base and its room as a state that moves on by `step`: no clock, no ROS, so training and tests run it as fast as
they can.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stack.sim.scene import ROBOT_RADIUS_M, Scene, ScenePose, move_target, polar

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

    `respawn` names the pillar colour that moves elsewhere when the robot comes near it, None keeps everything where it
    is.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator, respawn: str | None = None) -> None:
        self.scene = scene
        self.time_s = self.linear = self.angular = 0.0
        self.in_contact = False
        self.contacts = self.respawns = 0
        self.battery = BATTERY_AT_START
        self._rng = rng
        self._respawn = respawn
        self._command = (0.0, 0.0)
        self._command_at_s = -math.inf

    @property
    def pose(self) -> ScenePose:
        return self.scene.pose

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
        target = self.scene.pillar(self._respawn)
        if target and polar(self.pose, target)[0] <= RESPAWN_GAP_M + target.radius + ROBOT_RADIUS_M:
            self.scene = move_target(self.scene, target.color, self._rng)
            self.respawns += 1

    def _move(self, dt_s: float) -> None:
        pose = self.pose.moved(self.linear, self.angular, dt_s)
        clearance = self._clearance(pose.x, pose.y)
        if clearance < 0.0:
            pose = replace(self.pose, theta=pose.theta)
            self.linear = 0.0
            self.contacts += not self.in_contact
        self.in_contact = clearance < (CONTACT_ENDS_M if self.in_contact else 0.0)
        self.scene = replace(self.scene, pose=replace(pose, theta=math.remainder(pose.theta, math.tau)))

    def _clearance(self, x: float, y: float) -> float:
        """Distance (m) from the hull to the nearest thing, negative inside it."""
        size_x, size_y = self.scene.size
        pillars = (math.hypot(p.x - x, p.y - y) - p.radius for p in self.scene.pillars)
        return min(size_x / 2 - abs(x), size_y / 2 - abs(y), *pillars) - ROBOT_RADIUS_M


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
