"""What stands where: room, pillars and the robot's pose, and how to place them so that the task can be solved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from model_registry.core.errors import UsageError
from model_registry.core.stop_words import Meaning, StopWords

COLORS = ("red", "green", "blue", "yellow")
LAYOUTS = ("random", "front", "empty")
ROBOT_RADIUS_M = 0.2
PILLAR_RADIUS_M = 0.2
START_CLEARANCE_M = 0.9  # robot centre to wall
WALL_CLEARANCE_M = 1.3  # pillar centre to wall: a robot that stops before a pillar can always turn there
PILLAR_CLEARANCE_M = 1.3  # centre to centre
ROBOT_CLEARANCE_M = 1.0  # robot centre to pillar centre at the start
PATH_CLEARANCE_M = 0.75  # other pillars to the straight way between robot and target
ATTEMPTS = 400


@dataclass(frozen=True, slots=True)
class ScenePose:
    """Metres and radians; the room's middle is the origin, theta 0 looks along x."""

    x: float
    y: float
    theta: float

    def moved(self, linear: float, angular: float, dt_s: float) -> ScenePose:
        """After `dt_s` at these speeds (m/s, rad/s); theta goes on counting beyond a turn."""
        middle = self.theta + angular * dt_s / 2
        x = self.x + linear * math.cos(middle) * dt_s
        y = self.y + linear * math.sin(middle) * dt_s
        return ScenePose(x, y, self.theta + angular * dt_s)


@dataclass(frozen=True, slots=True)
class Pillar:
    color: str
    x: float
    y: float
    radius: float = PILLAR_RADIUS_M


@dataclass(frozen=True, slots=True)
class Scene:
    """A room of `size` metres with its pillars and the robot's pose."""

    pose: ScenePose
    pillars: tuple[Pillar, ...]
    size: tuple[float, float] = (8.0, 8.0)

    def pillar(self, color: str | None) -> Pillar | None:
        return next((pillar for pillar in self.pillars if pillar.color == color), None)


def color_in(text: str) -> str | None:
    """The pillar colour that a command names, or None. Words that mean stop name nothing."""
    if StopWords().heard_in(text) is not Meaning.NOTHING:
        return None
    return next((word for word in text.lower().split() if word in COLORS), None)


def polar(pose: ScenePose, pillar: Pillar) -> tuple[float, float]:
    """Distance (m, centre to centre) and bearing (rad in (-pi, pi], left positive) of a pillar as the robot sees it."""
    dx = pillar.x - pose.x
    dy = pillar.y - pose.y
    turn = math.atan2(dy, dx) - pose.theta
    return math.hypot(dx, dy), math.atan2(math.sin(turn), math.cos(turn))


def build(layout: str, rng: np.random.Generator, size: tuple[float, float] = (8.0, 8.0)) -> Scene:
    """Make the scene named `layout` (one of LAYOUTS).

    Raises UsageError for another name or a room that is too small.
    """
    if layout == "empty":
        return Scene(ScenePose(0.0, 0.0, 0.0), (), size)
    if layout == "front":
        places = (("red", 2.0, 0.0), ("green", 0.5, 2.2), ("blue", 0.5, -2.2), ("yellow", -2.2, 2.0))
        return Scene(ScenePose(-1.5, 0.0, 0.0), tuple(Pillar(*place) for place in places), size)
    if layout == "random":
        pose = ScenePose(*_somewhere(size, START_CLEARANCE_M, rng), rng.uniform(-math.pi, math.pi))
        return _populate(Scene(pose, (), size), COLORS, rng)
    raise UsageError(f"layout {layout!r}: not known; use one of {', '.join(LAYOUTS)}")


def _somewhere(size: tuple[float, float], clearance: float, rng: np.random.Generator) -> tuple[float, float]:
    half_x = size[0] / 2 - clearance
    half_y = size[1] / 2 - clearance
    return rng.uniform(-half_x, half_x), rng.uniform(-half_y, half_y)


def _populate(scene: Scene, colors: Iterable[str], rng: np.random.Generator) -> Scene:
    """The scene with new pillars of these colours in place of its own."""
    scene = replace(scene, pillars=())
    for color in colors:
        scene = replace(scene, pillars=(*scene.pillars, _place(scene, color, rng)))
    return scene


def _place(scene: Scene, color: str, rng: np.random.Generator) -> Pillar:
    for _ in range(ATTEMPTS):
        if _is_free(scene, pillar := Pillar(color, *_somewhere(scene.size, WALL_CLEARANCE_M, rng))):
            return pillar
    raise UsageError(
        f"arena {scene.size[0]:g} x {scene.size[1]:g} m: no free place for the {color} pillar; make the arena larger"
    )


def _is_free(scene: Scene, pillar: Pillar) -> bool:
    taken = [(other.x, other.y, PILLAR_CLEARANCE_M) for other in scene.pillars if other.color != pillar.color]
    taken.append((scene.pose.x, scene.pose.y, ROBOT_CLEARANCE_M))
    return all(math.hypot(pillar.x - x, pillar.y - y) >= clearance for x, y, clearance in taken)


def way_is_free(scene: Scene, target: Pillar) -> bool:
    """Whether no other pillar stands within PATH_CLEARANCE_M of the straight way from the robot to `target`."""
    distance, bearing = polar(scene.pose, target)
    heading = scene.pose.theta + bearing
    for other in scene.pillars:
        dx = other.x - scene.pose.x
        dy = other.y - scene.pose.y
        along = dx * math.cos(heading) + dy * math.sin(heading)
        across = dx * math.sin(heading) - dy * math.cos(heading)
        if other.color != target.color and 0.0 < along < distance and abs(across) < PATH_CLEARANCE_M:
            return False
    return True


def move_target(scene: Scene, color: str, rng: np.random.Generator) -> Scene:
    """Put the pillar `color` at a new free place with a free way to it, in front of the robot where there is one.

    When no such place is found all pillars move, so a robot that follows its target can drive for ever.
    """
    second_best: Scene | None = None
    for attempt in range(ATTEMPTS):
        pillar = Pillar(color, *_somewhere(scene.size, WALL_CLEARANCE_M, rng))
        distance, bearing = polar(scene.pose, pillar)
        moved = replace(scene, pillars=tuple(pillar if old.color == color else old for old in scene.pillars))
        if distance < 2.5 or not _is_free(moved, pillar) or not way_is_free(moved, pillar):
            continue
        if abs(bearing) < 0.7:
            return moved
        second_best = second_best or moved
        if attempt > ATTEMPTS // 4:
            break
    return second_best or _populate(scene, [old.color for old in scene.pillars], rng)
