"""The teacher: drives from the true state of the world what the policy must learn to drive from pixels.

It has no memory, as the policy has none: what it does depends on the pose, the pillars and the command alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stack.sim.scene import Pillar, Scene, color_in, polar
from stack.sim.senses import HFOV_RAD, cast

STEPS = 8
STEP_S = 0.05
STOP_GAP_M = 0.5  # robot centre to the pillar's surface
SLOW_GAP_M = 0.3  # over which it slows down before that
VIEW_MARGIN_RAD = math.radians(1.5)
# m/s, rad/s: a tight arc, because turning on the spot never looks behind a pillar that hides the target
SEARCH = (0.12, 0.75)
SEARCH_FREE_M = 0.75
AVOID_AHEAD_M = 1.4
AVOID_ASIDE_M = 0.7
FORWARD_MPS = 0.4
FORWARD_STOP_M = 0.55
TURNS = {"turn left": (0.25, 0.6), "turn right": (0.25, -0.6)}
_SIGHT_LINES = np.linspace(-0.8, 0.8, 5)
_AHEAD = np.linspace(-0.6, 0.6, 9)


@dataclass(frozen=True, slots=True)
class Style:
    """How a teacher drives: top speed (m/s), turn rate per radian of bearing (1/s) and its limit (rad/s)."""

    cruise_mps: float = 0.45
    turn_gain: float = 1.8
    turn_limit: float = 0.9


def chunk(scene: Scene, command: str, style: Style) -> NDArray[np.float32]:
    """The next STEPS actions [STEPS, 2] (m/s, rad/s) for one of `commands.COMMANDS` from the scene's pose on.

    Whether the target is in view is decided once, for the moment the frame is taken: nobody can act on what comes into
    view later.
    """
    color = color_in(command)
    target = scene.pillar(color)
    visible = target is not None and in_view(scene, target)
    actions = np.zeros((STEPS, 2), dtype=np.float32)
    for step in range(STEPS):
        if target is not None and visible:
            action = _approach(scene, target, style)
        elif color is not None:
            action = SEARCH[0] * _ramp(_front(scene), SEARCH_FREE_M - 0.25, SEARCH_FREE_M), SEARCH[1]
        elif command == "go forward":
            action = FORWARD_MPS * _ramp(_front(scene), FORWARD_STOP_M, FORWARD_STOP_M + 0.6), 0.0
        else:
            action = TURNS.get(command, (0.0, 0.0))
        actions[step] = action
        scene = replace(scene, pose=scene.pose.moved(*action, STEP_S))
    return actions


def in_view(scene: Scene, target: Pillar) -> bool:
    """Whether the camera sees a part of the target: inside its opening and not wholly behind other pillars."""
    distance, bearing = polar(scene.pose, target)
    if abs(bearing) > HFOV_RAD / 2 - VIEW_MARGIN_RAD:
        return False
    lines = bearing + _half_width(target, distance) * _SIGHT_LINES
    hidden = np.zeros(len(lines), dtype=np.bool_)
    for other, other_distance, other_bearing in _before(scene, target):
        hidden |= np.abs(lines - other_bearing) < _half_width(other, other_distance)
    return not bool(hidden.all())


def _before(scene: Scene, target: Pillar) -> Iterator[tuple[Pillar, float, float]]:
    """The other pillars that are not farther than `target`, with distance and bearing."""
    limit, _ = polar(scene.pose, target)
    for other in scene.pillars:
        distance, bearing = polar(scene.pose, other)
        if other.color != target.color and distance <= limit:
            yield other, distance, bearing


def _half_width(pillar: Pillar, distance: float) -> float:
    """Half the angle (rad) that a pillar covers."""
    return math.asin(min(1.0, pillar.radius / max(distance, pillar.radius)))


def _front(scene: Scene) -> float:
    """Free distance ahead (m)."""
    hits = cast(scene, _AHEAD)
    return float(min(hits.wall.min(), hits.pillars.min(initial=np.inf)))


def _approach(scene: Scene, target: Pillar, style: Style) -> tuple[float, float]:
    distance, bearing = polar(scene.pose, target)
    aligned = 1.0 - _ramp(abs(bearing), 0.3, 0.75)
    linear = style.cruise_mps * aligned * _ramp(distance - target.radius, STOP_GAP_M, STOP_GAP_M + SLOW_GAP_M)
    angular = style.turn_gain * bearing
    for _, other_distance, other_bearing in _before(scene, target):
        ahead = other_distance * math.cos(other_bearing)
        aside = other_distance * math.sin(other_bearing)
        if 0.0 < ahead < AVOID_AHEAD_M:
            danger = (1.0 - ahead / AVOID_AHEAD_M) * max(0.0, 1.0 - abs(aside) / AVOID_ASIDE_M)
            angular -= math.copysign(4.0 * danger, aside)
            linear *= 1.0 - min(0.7, danger)
    return linear, max(-style.turn_limit, min(style.turn_limit, angular))


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))
